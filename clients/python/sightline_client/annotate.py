"""Draws what was found on the photo itself: numbered boxes with labels.

Rule: boxes are fractions of the *upright* photo, so EXIF's orientation is applied before anything is drawn, as the
server applies it: by EXIF only, as browsers do.
"""

import io
import math
import warnings
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from sightline_client.events import Box, DetectedObject
from sightline_client.orientation import exif_orientation
from sightline_console.terminal import printable

COLOURS = ("#e4572e", "#2e86ab", "#3a9d5d", "#8e5bd0", "#d99a00", "#c2377c", "#128c8c", "#6b6b6b")
"""One colour an object, used again after the last; all readable under white text."""

JPEG_SIGNATURE, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that turns each EXIF orientation upright."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def upright(photo: bytes, longest_edge: int | None = None) -> Image.Image:
    """The photo as RGB with its EXIF orientation applied, reduced to `longest_edge` pixels where it is larger.

    Raises `OSError` for bytes that Pillow cannot read.
    """
    picture = _decoded(photo)
    if longest_edge is not None:
        picture.thumbnail((longest_edge, longest_edge), Image.Resampling.LANCZOS)
    return picture


def _decoded(photo: bytes) -> Image.Image:
    # The server takes a JPEG whose end marker is missing; Pillow takes it with one more.
    whole = bytes(photo) + JPEG_END if photo.startswith(JPEG_SIGNATURE) else photo
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the server has its own limit
            with Image.open(io.BytesIO(whole)) as opened:
                # Pillow's own `exif_transpose`, which it also applies to a TIFF that it loads, falls back to XMP.
                opened.info.pop("xmp", None)
                opened.load()
                turn = TURNS.get(exif_orientation(opened.info.get("exif") or b""))
                return (opened if turn is None else opened.transpose(turn)).convert("RGB")
    except MemoryError:
        raise
    except UnidentifiedImageError:
        raise OSError("the image is not in a format that Pillow reads") from None
    except Exception as error:  # Pillow's plugins raise what they like for corrupt files: SyntaxError, struct.error ...
        raise OSError(f"the image cannot be decoded: {error}") from error


def colour(number: int) -> str:
    """The colour of object `number`, from 1."""
    return COLOURS[(number - 1) % len(COLOURS)]


def draw(picture: Image.Image, objects: Sequence[DetectedObject], captions: Sequence[str] = ()) -> Image.Image:
    """A copy of the upright photo with each object's box, number and caption (its label and score by default)."""
    drawn = picture.copy()
    pen = ImageDraw.Draw(drawn)
    size = max(11, round(max(drawn.size) / 56))
    font = ImageFont.load_default(size)
    texts = captions or [caption(number, found) for number, found in enumerate(objects, 1)]
    # The smallest box is drawn last, so that a large one never hides it.
    order = sorted(range(len(objects)), key=lambda index: -_area(objects[index].box))
    for index in order:
        _draw_box(pen, drawn.size, objects[index].box, colour(index + 1), max(2, size // 5))
    for index in order:
        _draw_caption(pen, drawn.size, objects[index].box, texts[index], colour(index + 1), font)
    return drawn


def caption(number: int, found: DetectedObject) -> str:
    """Number, label and score of an object, as far as they are known."""
    score = f" {found.score:.2f}" if found.score > 0 else ""
    return printable(f"{number} {found.label}{score}".strip())


def _area(box: Box) -> float:
    return (box.x_max - box.x_min) * (box.y_max - box.y_min)


def _draw_box(pen: ImageDraw.ImageDraw, size: tuple[int, int], box: Box, ink: str, width: int) -> None:
    x_min, y_min, x_max, y_max = _pixels(size, box)
    pen.rectangle((x_min, y_min, max(x_min, x_max - 1), max(y_min, y_max - 1)), outline=ink, width=width)


def _draw_caption(pen: ImageDraw.ImageDraw, size: tuple[int, int], box: Box, text: str, ink: str, font: Font) -> None:
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    pad = max(2, round((bottom - top) / 4))
    width, height = round(right - left) + 2 * pad, round(bottom - top) + 2 * pad
    x_min, y_min, _, _ = _pixels(size, box)
    x = min(max(0, x_min), max(0, size[0] - width))
    y = min(max(0, y_min), max(0, size[1] - height))
    pen.rectangle((x, y, x + width, y + height), fill=ink)
    pen.text((x + pad - left, y + pad - top), text, fill="white", font=font)


def _pixels(size: tuple[int, int], box: Box) -> tuple[int, int, int, int]:
    width, height = size
    return _edge(box.x_min, width), _edge(box.y_min, height), _edge(box.x_max, width), _edge(box.y_max, height)


def _edge(fraction: float, length: int) -> int:
    """A box's edge in pixels; whatever a server sends, it is within the photo."""
    return round(min(1.0, max(0.0, fraction)) * length) if math.isfinite(fraction) else 0
