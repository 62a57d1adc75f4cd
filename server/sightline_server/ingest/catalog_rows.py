"""Prepared rows -> rows of the catalog: each image embedded once, each value fit for its column.

Rule: a row that the catalog cannot hold is a `Problem` of that row, whatever the exception. A failing engine is not: it
ends the build.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.view_vectors import in_views
from sightline_server.index.schema import MAX_IMAGES, CatalogRow, to_table
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.feed_rows import Problem, ProblemKind
from sightline_server.ingest.prepared import Prepared
from sightline_server.ingest.seen_images import SeenImages

Vectors = Mapping[str, NDArray[np.float32]]
"""Embeddings float32 [N,D] by the keys of their images, N of each for its views."""


async def embedded(prepared: Sequence[Prepared], embed: Embed, seen: SeenImages) -> Vectors:
    """The embeddings of all images of prepared rows, which go to the engine together, each image once."""
    vectors: dict[str, NDArray[np.float32]] = {}
    crops: dict[str, tuple[NDArray[np.uint8], ...]] = {}
    features: dict[str, str] = {}
    for image in (image for item in prepared for image in item.images):
        # An earlier group may have embedded the same image since this one was prepared.
        known = image.embeddings if image.embeddings is not None else seen.get(image.key)
        if isinstance(known, np.ndarray):
            vectors[image.key] = known
        elif image.crops:
            crops[image.key] = image.crops
            features[image.key] = image.features
    if crops:
        made = await embed([crop for views in crops.values() for crop in views])
        ends = np.cumsum([len(views) for views in crops.values()])
        for key, found in zip(crops, np.split(made, ends[:-1]), strict=True):
            vectors[key] = found
            seen.add(key, found, features[key])
    return vectors


def storable(prepared: Sequence[Prepared], vectors: Vectors, dimension: int) -> tuple[list[CatalogRow], list[Problem]]:
    """The rows that the catalog's columns can hold, and a problem for each of the others."""
    rows = fitting(prepared, vectors, dimension)
    if rows is not None:
        return rows, []
    good: list[CatalogRow] = []
    problems = []
    for item in prepared:
        row = fitting([item], vectors, dimension)
        if row is not None:
            good += row
        else:
            text = "a value cannot be stored; check the row for characters that are not Unicode text"
            problems.append(Problem(item.row.row, ProblemKind.MALFORMED_ROW, text, item.row.product.id))
    return good, problems


def fitting(prepared: Sequence[Prepared], vectors: Vectors, dimension: int) -> list[CatalogRow] | None:
    """The catalog rows of prepared ones; None where they do not fit the catalog's columns together."""
    try:
        rows = [catalog_row(item, vectors) for item in prepared]
        if rows:
            to_table(rows, dimension)
    except Exception:  # libraries raise whatever their converters meet
        return None
    return rows


def catalog_row(item: Prepared, vectors: Vectors) -> CatalogRow:
    """The catalog row of a prepared one."""
    places, embeddings = in_views([vectors[image.key] for image in item.images], MAX_IMAGES)
    images = [item.images[place] for place in places]
    links = tuple(image.link for image in images)
    originals = tuple(image.original for image in images)
    features = tuple(image.features for image in images)
    return CatalogRow(item.product, item.row.price, links, embeddings, originals=originals, features=features)
