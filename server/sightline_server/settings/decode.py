"""The settings of photo decoding."""

import os
from typing import Annotated, Literal

from pydantic import Field

from sightline_server.settings.part import Part, Positive

PhotoFormat = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "heic"]


class DecodeSettings(Part):
    """How photos become frames."""

    threads: Positive = Field(default_factory=lambda: max(1, min(4, os.cpu_count() or 1)))
    """Threads that decode and crop."""
    max_frame_edge: Positive = 3072
    """A decoded photo is reduced to at most this longer edge, in pixels."""
    formats: Annotated[tuple[PhotoFormat, ...], Field(min_length=1)] = ("jpeg", "png", "webp")
    """Formats that callers may send, of `jpeg`, `png`, `webp`, `gif`, `bmp`, `tiff`, `avif`, `heic`. Catalog images may
    have these and the first six. `heic` needs the extra `sightline[heif]`."""
    processes: Positive = 2
    """Most decode processes at once, for what only Pillow decodes: TIFF, AVIF, HEIC, plain BMP, JPEG of CMYK or without
    its end. They start with the first such photo and end after 5 s without one."""
    process_memory_bytes: Annotated[int, Field(ge=512 * 1024 * 1024)] = 2 * 1024**3
    """Address space of a decode process, 300 MB for its code included; a photo that needs more is refused."""
    process_timeout_s: Annotated[int, Field(gt=0, le=600)] = 10
    """Seconds of CPU and of time that one photo may take in a decode process; its caller's deadline may come first."""
