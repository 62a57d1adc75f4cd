"""Two images that are the same on every machine, to compare a model with its reference.

Place in the flow: input of `models check` and of the congruence tests. The one rule: integer arithmetic only, so that
no version of anything can move a pixel.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Point = tuple[int, int]

_UNIT = 416
_TICKS: tuple[Point, ...] = (
    (0, 100), (50, 87), (87, 50), (100, 0), (87, -50), (50, -87),
    (0, -100), (-50, -87), (-87, -50), (-100, 0), (-87, 50), (-50, 87),
)  # fmt: skip
_INK: Colour = (20, 20, 20)


def probes(size: int) -> Pixels:
    """The two images as one batch: uint8 [2, size, size, 3] RGB, noise first."""
    return np.stack([noise(size), still_life(size)])


def noise(size: int) -> Pixels:
    """Even noise from an integer hash of row, column and channel: uint8 [size, size, 3]."""
    row, column, channel = np.meshgrid(*(np.arange(n, dtype=np.uint64) for n in (size, size, 3)), indexing="ij")
    value = (row * np.uint64(19349663)) ^ (column * np.uint64(73856093)) ^ (channel * np.uint64(83492791))
    value = ((value ^ (value >> np.uint64(13))) * np.uint64(1274126177)) & np.uint64(0xFFFFFFFF)
    hashed: Pixels = ((value >> np.uint64(16)) & np.uint64(0xFF)).astype(np.uint8)
    return hashed


def still_life(size: int) -> Pixels:
    """A wall clock over a table with two oranges, which the default detector knows: uint8 [size, size, 3] RGB."""
    canvas = _Canvas(size)
    canvas.background(table_top=300)
    canvas.clock(centre=(120, 140), radius=80)
    canvas.orange(centre=(262, 180), radius=44)
    canvas.orange(centre=(268, 290), radius=38)
    return canvas.image


class _Canvas:
    """Draws in units of a 416-pixel square; points are (row, column)."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows, self._columns = np.mgrid[0:size, 0:size]
        self.image: Pixels = np.zeros((size, size, 3), dtype=np.uint8)

    def background(self, table_top: int) -> None:
        fade = self._rows * _UNIT // self._size // 8
        self.image[:] = np.stack([190 - fade, 200 - fade, 205 - fade], axis=-1)
        top, edge = self._scaled(table_top), self._scaled(table_top + 6)
        self.image[top:] = (150, 105, 70)
        self.image[top:edge] = (120, 80, 50)

    def clock(self, centre: Point, radius: int) -> None:
        row, column = centre
        self._disc(centre, radius, (40, 36, 34))
        self._disc(centre, radius * 9 // 10, (244, 242, 236))
        for down, right in _TICKS:
            inner = (row + down * radius * 68 // 10000, column + right * radius * 68 // 10000)
            outer = (row + down * radius * 82 // 10000, column + right * radius * 82 // 10000)
            self._line(inner, outer, half_width=2)
        self._line(centre, (row - radius * 35 // 100, column - radius * 30 // 100), half_width=4)
        self._line(centre, (row - radius * 45 // 100, column + radius * 45 // 100), half_width=3)

    def orange(self, centre: Point, radius: int) -> None:
        inside = self._distance_squared(centre) <= self._scaled(radius) ** 2
        lit = (centre[0] - radius // 3, centre[1] - radius // 3)
        shade = 100 - self._distance_squared(lit) * 70 // max(self._scaled(radius * 14 // 10), 1) ** 2
        for channel, value in enumerate((250, 140, 20)):
            shaded = np.clip(value * shade // 100, 0, 255)
            self.image[..., channel][inside] = shaded[inside]

    def _disc(self, centre: Point, radius: int, colour: Colour) -> None:
        self.image[self._distance_squared(centre) <= self._scaled(radius) ** 2] = colour

    def _line(self, start: Point, end: Point, half_width: int) -> None:
        (row0, column0), (row1, column1) = ((self._scaled(p[0]), self._scaled(p[1])) for p in (start, end))
        down, right = row1 - row0, column1 - column0
        length = down * down + right * right
        along = (self._rows - row0) * down + (self._columns - column0) * right
        across = (self._rows - row0) * right - (self._columns - column0) * down
        inside = (along >= 0) & (along <= length) & (across**2 <= self._scaled(half_width) ** 2 * length)
        self.image[inside] = _INK

    def _distance_squared(self, centre: Point) -> npt.NDArray[np.int64]:
        row, column = self._scaled(centre[0]), self._scaled(centre[1])
        squared: npt.NDArray[np.int64] = (self._rows - row) ** 2 + (self._columns - column) ** 2
        return squared

    def _scaled(self, units: int) -> int:
        return units * self._size // _UNIT
