"""The limits on photos, catalog images and exact search, from the settings."""

from dataclasses import replace

from sightline_server.index.choice.choosing import MIB, IndexPolicy
from sightline_server.settings import DecodeSettings, IndexSettings, Settings
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.formats import with_usual
from sightline_server.stages.processes.process import ProcessLimits


def photo_limits(settings: Settings) -> DecodeLimits:
    """The limits on callers' photos."""
    limits, decode = settings.limits, settings.decode
    return DecodeLimits(limits.max_photo_bytes, limits.max_photo_pixels, decode.max_frame_edge, decode.formats)


def catalog_limits(settings: Settings) -> DecodeLimits:
    """The limits on catalog images: those on callers' photos, in more formats."""
    return replace(photo_limits(settings), formats=with_usual(settings.decode.formats))


def process_limits(settings: DecodeSettings) -> ProcessLimits:
    """The limits on decode processes."""
    return ProcessLimits(settings.processes, settings.process_memory_bytes, settings.process_timeout_s)


def index_policy(settings: IndexSettings) -> IndexPolicy:
    """The size up to which search is exact, and the limit of building another index."""
    return IndexPolicy(settings.exact_mib * MIB, settings.build_limit_s)
