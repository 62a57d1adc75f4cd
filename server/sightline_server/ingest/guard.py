"""Decides whether a new catalog may replace the old one.

Rule: pure arithmetic on counts. A row counts as lost when its product is not in the new catalog; a second row of an id
counts neither as lost nor as a row, since its product is there. An image counts once for each product that names it;
images of rows that failed before their images were read are not counted, their rows are.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LOST = 0.10
MAX_SHRINK = 0.30
ROUNDING = 1e-12
"""Far below one row of any feed, and above what floats lose."""


@dataclass(frozen=True, slots=True)
class Losses:
    """`rows` of a feed, `images` that they name, and how many of each are not in the catalog."""

    rows: int = 0
    rows_lost: int = 0
    images: int = 0
    images_lost: int = 0

    def __add__(self, other: "Losses") -> "Losses":
        return Losses(
            self.rows + other.rows,
            self.rows_lost + other.rows_lost,
            self.images + other.images,
            self.images_lost + other.images_lost,
        )


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a catalog."""

    products: int
    images: int


def losses(counts: Losses, max_lost: float, unit: str = "rows") -> Iterator[str]:
    """One line for each share of `counts` above `max_lost`, such as `19 of 20 rows were lost (95 %)`.

    `unit` is what a row stands for.
    """
    for lost, total, name in (
        (counts.rows_lost, counts.rows, unit),
        (counts.images_lost, counts.images, "images"),
    ):
        if exceeds(lost, total, max_lost):
            yield f"{lost} of {total} {name} were lost ({percent(share(lost, total))})"


def shrinking(old: Size, new: Size, max_shrink: float) -> Iterator[str]:
    """One line for each count that falls by more than `max_shrink`."""
    for before, after, name in ((old.products, new.products, "products"), (old.images, new.images, "images")):
        if exceeds(before - after, before, max_shrink):
            yield f"{name}: {after} instead of {before} ({percent(share(before - after, before))} fewer)"


def refusal(lost: list[str], shrunk: list[str], max_lost: float, max_shrink: float) -> str:
    """The reasons why a catalog was not replaced, and the ways to replace it anyway; one indented line each."""
    lines = [f"{line}, --max-lost allows {percent(max_lost)}" for line in lost]
    lines += [f"{line}, --max-shrink allows {percent(max_shrink)}" for line in shrunk]
    options = ["--max-lost 100"] * bool(lost) + ["--max-shrink 100"] * bool(shrunk)
    lines.append(f"to build it all the same, add {' '.join(options)}")
    return "".join(f"\n  {line}" for line in lines)


def exceeds(part: int, whole: int, limit: float) -> bool:
    """Returns whether `part` of `whole` is above `limit`; equal decimals, such as 7 of 1000 and 0.7 %, are equal."""
    return share(part, whole) - limit > ROUNDING


def share(part: int, whole: int) -> float:
    """`part` of `whole`, 0 of nothing."""
    return part / whole if whole > 0 else 0.0


def percent(fraction: float) -> str:
    """A fraction in percent, rounded up so that it never shows less than it is: `10.1 %`."""
    return f"{math.ceil(round(fraction * 1000, 6)) / 10:g} %"
