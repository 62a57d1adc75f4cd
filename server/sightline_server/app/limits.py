"""The limits on photos and catalog images, from the settings."""

from dataclasses import replace

from sightline_server.settings import DecodeSettings, Settings
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
