"""From a clean render to a JPEG: the shop's picture as it is, the photo as a phone would have stored it.

One rule: what is done to a photo never moves a pixel, so the truth stays exact.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

# How a phone held so stores its sensor's rows: the turn that undoes it is what EXIF orientation asks for.
_STORED = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def print_product(raw: Path, place: Path) -> None:
    """Store the studio picture `raw` as a JPEG at `place`."""
    partial = place.with_suffix(".partial")
    Image.open(raw).convert("RGB").save(partial, "JPEG", quality=90, optimize=True)
    partial.replace(place)


def print_photo(raw: Path, place: Path, seed: str, orientation: int) -> None:
    """Store the upright render `raw` at `place` with noise, vignette, a phone's sharpening and EXIF `orientation`."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))
    picture = Image.open(raw).convert("RGB").filter(ImageFilter.UnsharpMask(1.2, 55, 2))
    pixels = np.asarray(picture, dtype=np.float32) / 255
    pixels = _noisy(pixels * _vignette(pixels.shape[0], pixels.shape[1]), rng)
    made = Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))
    turn = _STORED[orientation]
    if turn is not None:
        made = made.transpose(turn)
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Sightline", "Showroom render", orientation
    partial = place.with_suffix(".partial")
    made.save(partial, "JPEG", quality=85, optimize=True, exif=exif)
    partial.replace(place)


def _vignette(height: int, width: int) -> Any:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (1 - 0.13 * (x * x + y * y) ** 1.2 / 2)[..., None].astype(np.float32)


def _noisy(pixels: Any, rng: np.random.Generator) -> Any:
    shape = pixels.shape
    shot = rng.normal(0, 1, shape[:2])[..., None] * 0.010 + rng.normal(0, 1, shape) * 0.005
    return pixels + shot * (0.6 + 0.8 * (1 - pixels))
