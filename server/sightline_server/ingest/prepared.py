"""The values of a feed's rows on their way to the embedder, and the ways of keeping what was read of an image.

Rule: nothing here reads an image; `preparation.py` does, and makes these values.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.items import Product
from sightline_server.ingest.feed_rows import FeedRow, Problem
from sightline_server.ingest.guard import Losses

Crop = NDArray[np.uint8]
Keep = Callable[[bytes], Awaitable[str]]
"""Keeps the file of an image that was decoded; its name as `CatalogRow.originals` has it, or an empty text."""


async def keep_nothing(image: bytes) -> str:
    """`Keep` of a catalog that keeps no originals."""
    return ""


def in_thread(add: Callable[[bytes], str]) -> Keep:
    """`Keep` by a function that blocks."""

    async def keep(content: bytes) -> str:
        return await asyncio.to_thread(add, content)

    return keep


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """One image: its `link` as callers get it, and its `crops` uint8 [h,w,3], one for each view, or else the
    `embeddings` float32 [N,D] that an earlier product's row brought.

    `key` is equal for equal images. `original` names its kept file; it is empty where none is kept, and for an image
    that an earlier row brought, whose file is kept already. `features` names its kept local features.
    """

    link: str
    key: str
    crops: tuple[Crop, ...] = ()
    embeddings: NDArray[np.float32] | None = None
    original: str = ""
    features: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The crops of an image, one for each view, and the names of its kept file and its kept local features."""

    crops: tuple[Crop, ...]
    original: str
    features: str


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A row with its readable images, at least one; `product` is the one to publish."""

    row: FeedRow
    product: Product
    images: tuple[PreparedImage, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RowOutcome:
    """The outcome of one row with its `problems`; `prepared` is None where no image can be read."""

    prepared: Prepared | None
    problems: list[Problem]
    images_lost: int


@dataclass(frozen=True, slots=True)
class Group:
    """Some rows of the feed, prepared, and the problems of others; `rows` is their number together."""

    rows: int
    prepared: list[Prepared] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    losses: Losses = field(default_factory=Losses)
