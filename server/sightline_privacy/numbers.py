"""Numbers in texts that are facts about a photo: boxes, taps, positions, sizes.

Rule: a box counts where four numbers in a row are its corners or its corner and size, as fractions or as
pixels. That is never chance, and a single number may be.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?!\w)")
FURTHEST = 40
"""Characters between two numbers of one box."""
FRACTION_ERROR = 0.0051
"""Fractions may be rounded to two decimals."""
PIXEL_ERROR = 2.0


def numbers_of(text: str) -> list[tuple[float, int, int]]:
    """The numbers in a text, each with its begin and its end."""
    return [(float(match[0]), match.start(), match.end()) for match in NUMBER.finditer(text)]


def rows(numbers: Sequence[tuple[float, int, int]], count: int) -> Iterator[tuple[float, ...]]:
    """Each `count` numbers that are next to each other."""
    for place in range(len(numbers) - count + 1):
        row = numbers[place : place + count]
        if all(after[1] - before[2] <= FURTHEST for before, after in pairwise(row)):
            yield tuple(each[0] for each in row)


def forms(box: Sequence[float], sizes: Sequence[tuple[int, int]]) -> list[tuple[tuple[float, ...], float]]:
    """The ways in which a box is written, each with the error that it may have."""
    scales = [(1.0, 1.0, FRACTION_ERROR), *((float(width), float(height), PIXEL_ERROR) for width, height in sizes)]
    found: list[tuple[tuple[float, ...], float]] = []
    for x, y, error in scales:
        left, top, right, bottom = box[0] * x, box[1] * y, box[2] * x, box[3] * y
        found += [
            ((left, top, right, bottom), error),
            ((top, left, bottom, right), error),
            ((left, top, right - left, bottom - top), error),
        ]
    return found


def has_row(numbers: Sequence[tuple[float, int, int]], row: Sequence[float], error: float) -> bool:
    """Returns whether the numbers of `row` are next to each other, each within `error`."""
    return any(
        all(abs(is_ - wanted) <= error for is_, wanted in zip(each, row, strict=True))
        for each in rows(numbers, len(row))
    )


def has_size(text: str, size: tuple[int, int]) -> bool:
    """Returns whether a text has the width and the height of a photo next to each other, in either order."""
    return any(re.search(rf"(?<!\d){first}\D{{1,16}}{second}(?!\d)", text) for first, second in (size, size[::-1]))
