"""ICC profiles: what makes the colours of a photo sRGB, which the models were trained on.

Rule: a photo is not refused because its profile cannot be used; its colours then stay as they are. Pixels are
converted where the models see them, in letterbox and crops: a frame is ten times as many. Source: ICC.1:2022, clause 7.
"""

import io
import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Pixels = NDArray[np.uint8]

HEADER_BYTES = 128
MAX_PROFILE = 1 << 18
"""Bytes of a profile that is used. Those of cameras and editors have a few hundred, with tables up to 60 kB."""
SRGB_NAMES = (b"sRGB", "sRGB".encode("utf-16-be"))
SRGB_COLORANTS = {
    b"rXYZ": (0.43607, 0.22249, 0.01392),
    b"gXYZ": (0.38515, 0.71687, 0.09708),
    b"bXYZ": (0.14307, 0.06061, 0.71410),
}
"""The primaries of sRGB under D50 (IEC 61966-2-1)."""
COLORANT_ERROR = 0.003
MAX_TAGS = 100
VISIBLE = 3
"""Levels of 255 by which a profile must change some colour to be applied."""
LATTICE = (
    np.stack(np.meshgrid(*[np.linspace(0, 255, 6)] * 3, indexing="ij"), axis=-1).reshape(1, -1, 3).astype(np.uint8)
)


def to_srgb(profile: bytes) -> Callable[[Pixels], Pixels] | None:
    """The conversion of uint8 [H,W,3] pixels with `profile` to sRGB; None where they are sRGB, or it cannot be used."""
    if not HEADER_BYTES < len(profile) <= MAX_PROFILE or profile[16:20] != b"RGB " or profile[36:40] != b"acsp":
        return None
    if is_srgb(profile):
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
        changed = converted(LATTICE, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if np.abs(changed.astype(np.int16) - LATTICE).max() <= VISIBLE:
        return None
    return lambda pixels: converted(pixels, transform)


def is_srgb(profile: bytes) -> bool:
    """Returns whether the profile is called sRGB and has its primaries, as in most photos; needs no colour engine."""
    (count,) = struct.unpack_from(">I", profile, HEADER_BYTES) if len(profile) >= HEADER_BYTES + 4 else (0,)
    colorants = dict[bytes, tuple[float, ...]]()
    for place in range(HEADER_BYTES + 4, HEADER_BYTES + 4 + min(count, MAX_TAGS) * 12, 12):
        tag, start = profile[place : place + 4], int.from_bytes(profile[place + 4 : place + 8])
        if tag in SRGB_COLORANTS and start + 20 <= len(profile):
            colorants[tag] = tuple(each / 65536 for each in struct.unpack_from(">3i", profile, start + 8))
    near = len(colorants) == len(SRGB_COLORANTS) and all(
        abs(stated - right) <= COLORANT_ERROR
        for tag, values in SRGB_COLORANTS.items()
        for stated, right in zip(colorants[tag], values, strict=True)
    )
    return near and any(name in profile for name in SRGB_NAMES)


def converted(pixels: Pixels, transform: ImageCms.ImageCmsTransform) -> Pixels:
    """The pixels after the transform."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    ImageCms.applyTransform(image, transform, inPlace=True)
    return np.asarray(image)
