"""Pillow as a decoder: TIFF, HEIC, AVIF, JPEG of four components, uncompressed BMP, and JPEG that may be cut.

Rule: no pixel is decoded before the size was read, and a rotation that Pillow takes from XMP is undone.
"""

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from sightline_server.stages import exif, jpeg

Pixels = NDArray[np.uint8]
TIFF_TILE_TAGS = (322, 323)
PLAIN_MODES = ("RGB", "L")

# Sightline's limit is lower than Pillow's, and exceeding it is an error of the caller, not a warning.
Image.MAX_IMAGE_PIXELS = None


def jpeg_colour(photo: bytes, reduction: int) -> Pixels:
    """The pixels [H,W,3] of any JPEG with both edges reduced; it writes no warning to stderr when data is missing."""
    with Image.open(io.BytesIO(jpeg.bare(photo)), formats=("JPEG",)) as image:
        image.draft(None, (max(1, image.width // reduction), max(1, image.height // reduction)))
        return np.asarray(in_mode(image, "RGB"))


@dataclass(frozen=True, slots=True)
class Header:
    """A file's header: the size as shown if its decoder applies the rotation, and `area` in pixels decoded at a time.

    `orientation` is the rotation left to apply, as in EXIF; `profile` is the ICC profile, empty without one.
    """

    width: int
    height: int
    area: int
    orientation: int
    profile: bytes
    plain: bool
    """True if its pixels have eight bits a sample and neither transparency nor four inks."""


def header(photo: bytes, name: str) -> Header:
    """The header of a file in the format that Pillow calls `name`."""
    load_plugin(name)
    with Image.open(io.BytesIO(photo), formats=(name,)) as image:
        tile, turned = 0, 1
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            # A tile is decoded whole, however little of it lies in the image.
            across, down = (image.tag_v2.get(tag, 0) for tag in TIFF_TILE_TAGS)
            tile = across * down
        if name == "AVIF":
            # Pillow states in EXIF how the container turns the image (irot, imir), and does not turn it.
            turned = exif.orientation(image.info.get("exif") or b"")
        area = max(image.width * image.height, tile)
        profile = image.info.get("icc_profile")
        # In a TIFF it is what the file says it is, text or numbers too.
        profile = profile if isinstance(profile, bytes) else b""
        return Header(image.width, image.height, area, turned, profile, image.mode in PLAIN_MODES)


@cache
def load_plugin(name: str) -> None:
    """Makes Pillow read a format that it does not know from the start."""
    if name == "HEIF":
        # libheif turns the image as its container says, and its pixels are eight bits.
        from pillow_heif import register_heif_opener

        register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    if name == "AVIF":
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def colour(photo: bytes, name: str) -> Pixels:
    """The pixels [H,W,3] of the first frame, a TIFF's and an HEIC's upright; transparency becomes white."""
    load_plugin(name)
    with Image.open(io.BytesIO(photo), formats=(name,)) as image:
        # Pillow turns a TIFF while it loads it, by XMP where the file has no EXIF.
        image.info.pop("xmp", None)
        image.load()
        return flat(image)


def flat(image: Image.Image) -> Pixels:
    """The pixels of a loaded image, with eight bits a sample and without transparency."""
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(to_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        image = on_white(image)
    return np.asarray(in_mode(image, "RGB"))


def on_white(image: Image.Image) -> Image.Image:
    """The image with white where it is transparent, RGBA."""
    layered = in_mode(image, "RGBA")
    ground = Image.new("RGBA", layered.size, "white")
    ground.alpha_composite(layered)
    return ground


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image in `mode`; itself when it is, because `convert` would copy up to 256 MB."""
    return image if image.mode == mode else image.convert(mode)


def to_eight_bits(values: NDArray[Any]) -> Pixels:
    """Grey values of more than eight bits, scaled to 0..255 by 16 bits or, for floats, by their own range."""
    if np.issubdtype(values.dtype, np.integer):
        eight: Pixels = (np.clip(values, 0, 65535) >> 8).astype(np.uint8)
        return eight
    top = max(float(np.max(values, initial=0.0, where=np.isfinite(values))), 1e-9)
    known = np.nan_to_num(values, nan=0.0, posinf=top, neginf=0.0)
    scaled: Pixels = (np.clip(known / top, 0.0, 1.0) * 255.0).astype(np.uint8)
    return scaled
