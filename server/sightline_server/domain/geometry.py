"""Boxes and points in fractions of an image: 0..1, origin top left.

Rule: a `Box` is never empty and is always inside the image; its maker clips it first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Point:
    """A point in the image, both coordinates in 0..1."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-parallel rectangle with 0 <= x_min < x_max <= 1, and the same for y."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float

    def __post_init__(self) -> None:
        if not (0.0 <= self.x_min < self.x_max <= 1.0 and 0.0 <= self.y_min < self.y_max <= 1.0):
            raise ValueError("a box must lie in 0..1 and have an area")

    @classmethod
    def whole(cls) -> Self:
        """The box of the whole image."""
        return cls(0.0, 0.0, 1.0, 1.0)

    @classmethod
    def middle(cls, share: float) -> Self:
        """The middle of the image, with `share` (0..1, not 0) of each of its edges."""
        margin = (1.0 - share) / 2
        return cls(margin, margin, 1.0 - margin, 1.0 - margin)

    @classmethod
    def square_around(cls, point: Point, side: float, aspect: float) -> Self:
        """A square in pixels around `point`, moved inside the image.

        `side` is its edge as a fraction of the image's shorter edge, `aspect` the image's width over its height.
        """
        width = min(1.0, side / max(aspect, 1.0))
        height = min(1.0, side * min(aspect, 1.0))
        x_min = min(max(point.x - width / 2, 0.0), 1.0 - width)
        y_min = min(max(point.y - height / 2, 0.0), 1.0 - height)
        return cls(x_min, y_min, min(1.0, x_min + width), min(1.0, y_min + height))

    @property
    def area(self) -> float:
        """Fraction of the image that the box covers."""
        return (self.x_max - self.x_min) * (self.y_max - self.y_min)

    @property
    def centre(self) -> Point:
        """The point in the middle."""
        return Point((self.x_min + self.x_max) / 2, (self.y_min + self.y_max) / 2)

    def grown(self, share: float) -> "Box":
        """The box with `share` of its width and height added on each side, inside the image."""
        dx, dy = share * (self.x_max - self.x_min), share * (self.y_max - self.y_min)
        return Box(
            max(0.0, self.x_min - dx), max(0.0, self.y_min - dy), min(1.0, self.x_max + dx), min(1.0, self.y_max + dy)
        )

    def inside(self, outer: "Box") -> "Box | None":
        """This box, in fractions of `outer`, as a box of the image; None where it is too thin to have an area there."""
        width, height = outer.x_max - outer.x_min, outer.y_max - outer.y_min
        x_min, x_max = outer.x_min + self.x_min * width, min(outer.x_max, outer.x_min + self.x_max * width)
        y_min, y_max = outer.y_min + self.y_min * height, min(outer.y_max, outer.y_min + self.y_max * height)
        return Box(x_min, y_min, x_max, y_max) if x_min < x_max and y_min < y_max else None

    def covers(self, point: Point) -> bool:
        """Returns whether `point` is in the box, edges included."""
        return self.x_min <= point.x <= self.x_max and self.y_min <= point.y <= self.y_max

    def intersection(self, other: "Box") -> "Box | None":
        """The part that both boxes cover, or None where they do not overlap."""
        x_min, y_min = max(self.x_min, other.x_min), max(self.y_min, other.y_min)
        x_max, y_max = min(self.x_max, other.x_max), min(self.y_max, other.y_max)
        return Box(x_min, y_min, x_max, y_max) if x_min < x_max and y_min < y_max else None

    def iou(self, other: "Box") -> float:
        """Intersection over union with `other`, 0..1."""
        both = self.intersection(other)
        if both is None or not both.area:  # two edges may differ by less than a product of them can show
            return 0.0
        return both.area / (self.area + other.area - both.area)

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The box as (left, top, right, bottom) pixels of an image, at least one pixel in each direction."""
        left = min(int(self.x_min * width), width - 1)
        top = min(int(self.y_min * height), height - 1)
        right = min(max(round(self.x_max * width), left + 1), width)
        bottom = min(max(round(self.y_max * height), top + 1), height)
        return left, top, right, bottom

    def touched_pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """As `pixels`, with every pixel of which the box has a part."""
        left, top, _, _ = self.pixels(width, height)
        right = min(max(ceil(self.x_max * width), left + 1), width)
        bottom = min(max(ceil(self.y_max * height), top + 1), height)
        return left, top, right, bottom


@dataclass(frozen=True, slots=True)
class Placement:
    """The position of a scaled image on the canvas that a model gets.

    `inner_width` and `inner_height` are pixels of the whole scaled image; `left` and `top` are those of its first pixel
    on the canvas. Around a smaller image the canvas is padded; of an image that overhangs (`left` or `top` below 0)
    the model sees a part.
    """

    canvas_width: int
    canvas_height: int
    inner_width: int
    inner_height: int
    left: int
    top: int

    @classmethod
    def inside(cls, width: int, height: int, canvas_width: int, canvas_height: int, *, centred: bool = True) -> Self:
        """The letterbox of a `width` x `height` image: scaled to fit, in the centre or at the top left."""
        scale = min(canvas_width / width, canvas_height / height)
        inner_width = min(canvas_width, max(1, round(width * scale)))
        inner_height = min(canvas_height, max(1, round(height * scale)))
        if not centred:
            return cls(canvas_width, canvas_height, inner_width, inner_height, 0, 0)
        return cls._centred(inner_width, inner_height, canvas_width, canvas_height)

    @classmethod
    def covering(cls, width: int, height: int, canvas_width: int, canvas_height: int) -> Self:
        """A `width` x `height` image scaled so that it just covers the canvas, with the same overhang on both sides."""
        scale = max(canvas_width / width, canvas_height / height)
        inner_width = max(canvas_width, round(width * scale))
        inner_height = max(canvas_height, round(height * scale))
        return cls._centred(inner_width, inner_height, canvas_width, canvas_height)

    @classmethod
    def of_shortest_edge(cls, width: int, height: int, edge: int, canvas_width: int, canvas_height: int) -> Self:
        """A `width` x `height` image whose shorter edge is scaled to `edge` pixels, in the centre of the canvas.

        The longer edge is rounded down, as torchvision's `Resize` does.
        """
        shorter = min(width, height)
        return cls._centred(width * edge // shorter, height * edge // shorter, canvas_width, canvas_height)

    @classmethod
    def _centred(cls, inner_width: int, inner_height: int, canvas_width: int, canvas_height: int) -> Self:
        left = _half(canvas_width - inner_width)
        return cls(canvas_width, canvas_height, inner_width, inner_height, left, _half(canvas_height - inner_height))

    @property
    def overhangs(self) -> bool:
        """True where parts of the image are outside the canvas."""
        return self.inner_width > self.canvas_width or self.inner_height > self.canvas_height

    def to_image(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes [N,4] xyxy in 0..1 of the canvas, as boxes in 0..1 of the image, clipped to it."""
        scale = np.array([self.canvas_width / self.inner_width, self.canvas_height / self.inner_height] * 2, np.float32)
        offset = np.array([self.left / self.inner_width, self.top / self.inner_height] * 2, np.float32)
        clipped: NDArray[np.float32] = np.clip(boxes * scale - offset, 0.0, 1.0)
        return clipped


def _half(difference: int) -> int:
    """Half of a difference of pixels, rounded towards zero, so that padding and overhang lose the odd pixel alike."""
    return difference // 2 if difference >= 0 else -(-difference // 2)


def smallest_covering(boxes: Sequence[Box], point: Point) -> int | None:
    """Index of the smallest box that covers `point`, or None."""
    covering = [index for index, box in enumerate(boxes) if box.covers(point)]
    return min(covering, key=lambda index: boxes[index].area, default=None)
