"""Photos of codes: a printed label with a barcode or a QR code, lying in a scene.

Rule: drawn from a seed, so that a photo that is not read can be made again. The symbols come from zxing-cpp's writer;
the scene, the angle, the blur, the noise and the JPEG are ours, and are what a camera adds.
"""

import io
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

FORMATS = {
    "EAN-13": zxingcpp.BarcodeFormat.EAN13,
    "UPC-A": zxingcpp.BarcodeFormat.UPCA,
    "EAN-8": zxingcpp.BarcodeFormat.EAN8,
    "ITF-14": zxingcpp.BarcodeFormat.ITF14,
    "QR": zxingcpp.BarcodeFormat.QRCode,
}
BAR_MODULES = 60
"""Height of the bars of a barcode in modules."""
QUIET_MODULES = 12
"""Paper on each side of a barcode in addition to what the writer draws."""
INK, PAPER = 30, 235
"""Grey levels of a printed label in a photo."""


@dataclass(frozen=True, slots=True)
class CodeShot:
    """A code in a photo: its format (a key of `FORMATS`), its text, and how the camera sees it.

    `module_px` is the width of the narrowest bar in pixels of the photo, `angle` degrees anticlockwise, `x` and `y` the
    centre of the label in 0..1 of the photo.
    """

    format: str
    text: str
    module_px: float
    angle: float
    x: float = 0.5
    y: float = 0.5


def symbol(format: str, text: str) -> Pixels:
    """The code as modules, uint8 [H,W], 0 for ink and 255 for paper, with its quiet zone."""
    barcode = zxingcpp.create_barcode(text, FORMATS[format])
    drawn: Pixels = np.array(barcode.to_image(scale=1, add_quiet_zones=True), np.uint8)
    if format == "QR":
        return drawn
    bars: Pixels = drawn[drawn.shape[0] // 2][None]
    quiet = np.pad(bars, ((0, 0), (QUIET_MODULES, QUIET_MODULES)), constant_values=255)
    tall: Pixels = np.repeat(quiet, BAR_MODULES, axis=0)
    return tall


def scene(width: int, height: int, seed: int) -> Pixels:
    """A room of smooth surfaces and some objects, uint8 [H,W,3], without a code."""
    random = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 1, width, dtype=np.float32), np.linspace(0, 1, height, dtype=np.float32))
    tints = random.uniform(80, 200, (3, 3))
    pixels = np.stack([base + (right - base) * x + (low - base) * y for base, right, low in tints], axis=-1)
    room: Pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    for _ in range(12):
        corner = random.integers(0, (width, height))
        size = random.integers((width // 20, height // 20), (width // 4, height // 3))
        colour = tuple(int(value) for value in random.integers(20, 235, 3))
        cv2.rectangle(room, corner.tolist(), (corner + size).tolist(), colour, -1)
    return room


def place(pixels: Pixels, shot: CodeShot) -> Pixels:
    """`pixels` [H,W,3] with the label of `shot` on it."""
    label = symbol(shot.format, shot.text)
    # Enlarged by whole numbers first: bars keep sharp edges, and one interpolation does the rest.
    steps = 2 * max(1, int(np.ceil(shot.module_px)))
    label = np.kron(label, np.ones((steps, steps), np.uint8))
    label = np.where(label > 127, PAPER, INK).astype(np.uint8)
    height, width = pixels.shape[:2]
    middle = label.shape[1] / 2, label.shape[0] / 2
    turn = np.asarray(cv2.getRotationMatrix2D(middle, shot.angle, shot.module_px / steps), np.float64)
    turn[:, 2] = np.array([shot.x * width, shot.y * height]) - turn[:, :2] @ np.array(middle)
    share = laid(np.full_like(label, 255), turn, width, height)[..., None].astype(np.float32) / 255
    mixed = pixels * (1 - share) + laid(label, turn, width, height)[..., None]
    return np.clip(mixed, 0, 255).astype(np.uint8)


def laid(label: Pixels, turn: NDArray[Any], width: int, height: int) -> Pixels:
    """The label turned and moved onto black, twice as large and averaged down: thin bars are grey and not missing."""
    large = cv2.warpAffine(label, 2 * turn, (2 * width, 2 * height), flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def camera(pixels: Pixels, seed: int, *, blur: float = 0.6, noise: float = 4.0) -> Pixels:
    """`pixels` as a camera gives them: a little blurred and noisy."""
    blurred = cv2.GaussianBlur(pixels, (0, 0), blur).astype(np.float32)
    grain = np.random.default_rng(seed).normal(0, noise, pixels.shape).astype(np.float32)
    seen: Pixels = (blurred + grain).clip(0, 255).astype(np.uint8)
    return seen


def code_photo(*shots: CodeShot, width: int = 1600, height: int = 1200, seed: int = 0, quality: int = 85) -> bytes:
    """A JPEG of a scene with the labels of `shots` in it."""
    pixels = scene(width, height, seed)
    for shot in shots:
        pixels = place(pixels, shot)
    encoded = io.BytesIO()
    Image.fromarray(camera(pixels, seed)).save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()
