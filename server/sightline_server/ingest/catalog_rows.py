"""Prepared rows -> rows of the catalog: each image embedded once, each value fit for its column.

Rule: a row that the catalog cannot hold is a `Problem` of that row. A failing engine is not: it ends the build.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.index.schema import CatalogRow, to_table
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.feed import Problem, ProblemKind
from sightline_server.ingest.preparation import Prepared
from sightline_server.ingest.seen_images import SeenImages


async def embedded(prepared: Sequence[Prepared], embed: Embed, seen: SeenImages) -> list[CatalogRow]:
    """The catalog rows of prepared ones; their images go to the engine together, each image once."""
    vectors: dict[str, NDArray[np.float32]] = {}
    crops: dict[str, NDArray[np.uint8]] = {}
    for image in (image for item in prepared for image in item.images):
        # An earlier group may have embedded the same image since this one was prepared.
        known = image.embedding if image.embedding is not None else seen.get(image.key)
        if isinstance(known, np.ndarray):
            vectors[image.key] = known
        elif image.crop is not None:
            crops[image.key] = image.crop
    if crops:
        for key, vector in zip(crops, await embed(list(crops.values())), strict=True):
            vectors[key] = vector
            seen.add(key, vector)
    return [
        CatalogRow(
            item.product,
            item.row.price,
            tuple(image.link for image in item.images),
            np.stack([vectors[image.key] for image in item.images]),
        )
        for item in prepared
    ]


def storable(
    rows: Sequence[CatalogRow], prepared: Sequence[Prepared], dimension: int
) -> tuple[list[CatalogRow], list[Problem]]:
    """The rows that the catalog's columns can hold, and a problem for each of the others."""
    if can_be_stored(rows, dimension):
        return list(rows), []
    good, problems = [], []
    for row, item in zip(rows, prepared, strict=True):
        if can_be_stored([row], dimension):
            good.append(row)
        else:
            text = "a value cannot be stored; check the row for characters that are not Unicode text"
            problems.append(Problem(item.row.row, ProblemKind.MALFORMED_ROW, text, row.product.id))
    return good, problems


def can_be_stored(rows: Sequence[CatalogRow], dimension: int) -> bool:
    """Whether `rows` fit the catalog's columns."""
    try:
        to_table(rows, dimension) if rows else None
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return False
    return True
