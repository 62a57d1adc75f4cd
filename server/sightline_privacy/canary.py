"""The canary photos: made for one verification, and known again wherever a part of them is left.

Rule: everything about them is random and unusual, so that a find is never chance: texts and a GPS position in the EXIF,
a barcode, a printed text, the size, the boxes that are asked for, and the pixels.
"""

import io
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sightline_privacy import ean

EXIF_TEXTS = (0x010E, 0x010F, 0x013B, 0x8298)
"""ImageDescription, Make, Artist, Copyright."""
GPS_IFD = 0x8825
LETTERS = "ACEFHKLMNRTXYZ"
"""The letters of the printed text."""


@dataclass(frozen=True, slots=True)
class Canary:
    """The photos of one verification, and the facts about them that nothing may repeat."""

    jpeg: bytes
    """With EXIF, a barcode and a printed text."""
    bare: bytes
    """The same JPEG without EXIF: the same pixels."""
    png: bytes
    """Noise, whose pixels are exactly known."""
    other: bytes
    """A photo that no grant is for."""
    pixels: NDArray[np.uint8]
    """Those of `png`, RGB, [H,W,3]."""
    texts: tuple[str, ...]
    """Texts of the EXIF."""
    exif: bytes
    position: tuple[float, float]
    """Latitude and longitude in degrees."""
    degrees: tuple[tuple[float, ...], tuple[float, ...]]
    """The same in degrees, minutes and seconds, as the EXIF has it."""
    code: str
    printed: str
    """A text that is printed in the JPEG, in capital letters that are hard to mistake for others."""
    sizes: tuple[tuple[int, int], ...]
    """Width and height of each photo in pixels."""
    box: tuple[float, float, float, float]
    """A box that is asked for, in fractions: x_min, y_min, x_max, y_max."""
    tap: tuple[float, float]
    invented: str
    """A text for the fields of requests that are refused."""

    @property
    def photos(self) -> tuple[bytes, ...]:
        """All photos."""
        return self.jpeg, self.bare, self.png, self.other

    def embedding(self, dimension: int) -> NDArray[np.float32]:
        """A vector float32 [dimension] of length 1 that is made of the pixels, so that nobody else has it."""
        made = np.random.default_rng(self.pixels.reshape(-1)[:64].astype(np.uint64)).normal(size=dimension)
        return np.asarray(made / np.linalg.norm(made), np.float32)

    @property
    def wrong_box(self) -> tuple[float, float, float, float]:
        """A box inside out, which is refused."""
        x_min, y_min, x_max, y_max = self.box
        return x_max, y_min, x_min, y_max


def make_canary(photo: Image.Image | None = None) -> Canary:
    """New canary photos; the JPEG shows `photo` below its canary pattern where one is given."""
    chance = np.random.default_rng(int.from_bytes(secrets.token_bytes(8)))
    token = secrets.token_hex(8)
    size = _unusual(chance, 610, 790), _unusual(chance, 470, 590)
    small = _unusual(chance, 330, 420), _unusual(chance, 250, 320)
    printed = "".join(chance.choice(list(LETTERS), 9))
    code = ean.with_check_digit("29" + "".join(str(digit) for digit in chance.integers(0, 10, 10)))
    picture = _picture(chance, size, code, printed, photo)
    texts = tuple(f"canary{place}-{token}-{secrets.token_hex(4)}" for place in range(len(EXIF_TEXTS)))
    degrees = _degrees(chance, 80), _degrees(chance, 170)
    block = _exif(texts, degrees)
    pixels = chance.integers(0, 256, (small[1], small[0], 3), np.uint8)
    x, y = sorted(chance.uniform(0.13, 0.87, 2)), sorted(chance.uniform(0.13, 0.87, 2))
    return Canary(
        jpeg=_encoded(picture, "JPEG", quality=88, exif=block),
        bare=_encoded(picture, "JPEG", quality=88),
        png=_encoded(Image.fromarray(pixels), "PNG"),
        other=_encoded(Image.fromarray(chance.integers(0, 256, (96, 96, 3), np.uint8)), "JPEG"),
        pixels=pixels,
        texts=texts,
        exif=block.tobytes(),
        position=(_decimal(degrees[0]), _decimal(degrees[1])),
        degrees=degrees,
        code=code,
        printed=printed,
        sizes=(size, small),
        box=(x[0] - 0.1, y[0] - 0.1, x[1] + 0.1, y[1] + 0.1),
        tap=(float(chance.uniform(0.2, 0.8)), float(chance.uniform(0.2, 0.8))),
        invented=f"invented-{secrets.token_hex(8)}",
    )


def _unusual(chance: np.random.Generator, low: int, high: int) -> int:
    """An odd number that is not a multiple of ten."""
    return int(chance.integers(low // 2, high // 2)) * 2 + 1


def _degrees(chance: np.random.Generator, most: int) -> tuple[float, ...]:
    return (
        float(chance.integers(20, most)),
        float(chance.integers(11, 59)),
        float(Fraction(int(chance.integers(10_000, 59_999)), 1000)),
    )


def _decimal(degrees: Sequence[float]) -> float:
    return degrees[0] + degrees[1] / 60 + degrees[2] / 3600


def _exif(texts: Sequence[str], degrees: tuple[tuple[float, ...], tuple[float, ...]]) -> Image.Exif:
    block = Image.Exif()
    for tag, text in zip(EXIF_TEXTS, texts, strict=True):
        block[tag] = text
    gps = block.get_ifd(GPS_IFD)
    gps[1], gps[2], gps[3], gps[4] = "N", degrees[0], "E", degrees[1]
    return block


def _picture(
    chance: np.random.Generator, size: tuple[int, int], code: str, printed: str, photo: Image.Image | None
) -> Image.Image:
    """The photo or a drawn room, with a patch of noise, a printed text and a barcode."""
    picture = photo.convert("RGB").resize(size) if photo is not None else _room(chance, size)
    patch = chance.integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    picture.paste(Image.fromarray(patch), (size[0] * 3 // 4 - 5, 5))
    picture.paste(ean.drawn(code), (5, size[1] - 90))
    picture.paste(_label(printed), (5, 5))
    return picture


def _label(printed: str) -> Image.Image:
    """A white label with a text in black."""
    label = Image.new("RGB", (250, 50), (255, 255, 255))
    ImageDraw.Draw(label).text((125, 25), printed, (0, 0, 0), ImageFont.load_default(34), anchor="mm")
    return label


def _room(chance: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A drawn room with furniture, in colours of chance."""
    width, height = size
    picture = Image.new("RGB", size, (214, 205, 190))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, height * 2 // 3, width, height), fill=(120, 90, 65))
    colours = [tuple(int(each) for each in chance.integers(30, 220, 3)) for _ in range(3)]
    draw.rounded_rectangle((width * 0.1, height * 0.45, width * 0.5, height * 0.75), 20, fill=colours[0])
    draw.rounded_rectangle((width * 0.08, height * 0.35, width * 0.52, height * 0.55), 25, fill=colours[0])
    draw.ellipse((width * 0.6, height * 0.5, width * 0.72, height * 0.72), fill=colours[1])
    draw.rectangle((width * 0.76, height * 0.6, width * 0.96, height * 0.64), fill=colours[2])
    for x in (0.77, 0.93):
        draw.rectangle((width * x, height * 0.64, width * (x + 0.02), height * 0.85), fill=colours[2])
    return picture


def _encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, form, **options)
    return encoded.getvalue()
