"""The settings of photo decoding."""

import os
from typing import Annotated, Literal

from pydantic import Field

from sightline_server.settings.part import Part, Positive

PhotoFormat = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "heic"]


class DecodeSettings(Part):
    """Threads, processes, formats and limits of photo decoding."""

    threads: Positive = Field(default_factory=lambda: max(1, min(4, os.cpu_count() or 1)))
    """Threads that decode and crop."""
    max_frame_edge: Positive = 3072
    """Longer edge of a decoded photo in pixels; larger photos are reduced to it."""
    formats: Annotated[tuple[PhotoFormat, ...], Field(min_length=1)] = ("jpeg", "png", "webp")
    """Formats that callers may send, of `jpeg`, `png`, `webp`, `gif`, `bmp`, `tiff`, `avif`, `heic`. Catalog images may
    have these and the first six. `heic` needs the extra `sightline[heif]`."""
    processes: Positive = 2
    """Maximum number of decode processes, for large photos (a JPEG above 25 megapixels, a WebP above 7) and those that
    only Pillow decodes: TIFF, AVIF, HEIC, plain BMP, JPEG in CMYK and truncated JPEG. They start with the first such
    photo and end after 5 s without one."""
    process_memory_bytes: Annotated[int, Field(ge=512 * 1024 * 1024)] = 2 * 1024**3
    """Address space of a decode process, including 300 MB for its code; a photo that needs more is refused."""
    process_timeout_s: Annotated[int, Field(gt=0, le=600)] = 10
    """CPU seconds that one photo may take in a decode process, and a quarter of the elapsed seconds; its caller's
    deadline may come first."""
