"""One revision of a catalog in memory, made of its rows.

Rule: what cannot be trusted is refused. A catalog is made only of the rows that were written, whole and unchanged, and
of vectors that are normalised.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.catalog.digest import SumDigest
from sightline_server.catalog.revisions import Revision
from sightline_server.domain.verdict import FittedVerdict
from sightline_server.domain.weights import FittedWeights
from sightline_server.index.adapter import AdaptedRows, Adapter
from sightline_server.index.dataset import BATCH_ROWS, damaged
from sightline_server.index.digest import ContentDigest
from sightline_server.index.half_floats import float32, lengths
from sightline_server.index.schema import DISPLAY_COLUMNS, PRICE_COLUMNS, CatalogFacts, catalog_schema
from sightline_server.index.vectors import VectorRows

NORM_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment of a log that an opened catalog shows: the revision, and the last operation on top of it."""

    revision: Revision
    seq: int


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """One opened revision.

    `display` are the columns of a `Product`, P rows in memory, and `prices` are `PRICE_COLUMNS` of the same rows.
    `vectors` is float16 [V,D]; vector v is of the image `image_links[v]` of product row `owners[v]` (int32 [V]).
    `content` is None for a catalog without a log. `adapter` is None where vectors are searched as they are,
    `weights` where its products are ordered by those of the embedder, and `verdict` where settings decide the level.
    """

    path: Path
    revision: str
    facts: CatalogFacts
    display: pa.Table
    prices: pa.Table
    image_links: pa.Array
    owners: NDArray[np.int32]
    vectors: NDArray[np.float16]
    content: Moment | None = None
    adapter: Adapter | None = None
    weights: FittedWeights | None = None
    verdict: FittedVerdict | None = None

    @property
    def rows(self) -> VectorRows:
        """The vectors as an index holds them: adapted where there is an adapter."""
        return self.vectors if self.adapter is None else AdaptedRows(self.adapter, self.vectors)


def assemble(
    path: Path,
    revision: str,
    facts: CatalogFacts,
    rows: Iterator[pa.RecordBatch],
    digest: ContentDigest | SumDigest | None = None,
) -> Catalog:
    """The catalog of `rows`, checked against `facts`; their digest depends on the order of rows without `digest`."""
    vectors = np.empty((facts.vectors, facts.embedder.dimension), np.float16)
    digest = digest or ContentDigest(catalog_schema(facts.embedder.dimension).names)
    display, prices, links, counts, filled = [], [], [], [], 0
    for batch in rows:
        digest.update(batch)
        lists = batch["embeddings"]
        values = lists.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, facts.embedder.dimension)
        if filled + len(values) > facts.vectors or not lists.value_lengths().equals(batch["images"].value_lengths()):
            raise damaged(path, "images and embeddings do not match")
        vectors[filled : filled + len(values)] = values
        filled += len(values)
        counts.append(lists.value_lengths().to_numpy(zero_copy_only=False))
        links.append(batch["images"].flatten().cast(pa.large_string()))
        display.append(batch.select(list(DISPLAY_COLUMNS)))
        prices.append(batch.select(list(PRICE_COLUMNS)))
    if filled != facts.vectors or digest.hexdigest() != facts.content_sha256:
        raise damaged(path, "its content is not what was written")
    if not normalised(vectors):
        raise damaged(path, "it holds embeddings that are not normalised")
    per_product = np.concatenate(counts)
    owners = np.repeat(np.arange(len(per_product), dtype=np.int32), per_product)
    shown, priced = display_table(display), pa.Table.from_batches(prices)
    return Catalog(path, revision, facts, shown, priced, pa.concat_arrays(links), owners, vectors)


def empty_catalog(path: Path, revision: str, facts: CatalogFacts) -> Catalog:
    """A catalog without products."""
    rows = catalog_schema(facts.embedder.dimension).empty_table().combine_chunks().to_batches()
    empty = rows or [pa.RecordBatch.from_pylist([], schema=catalog_schema(facts.embedder.dimension))]
    shown = display_table([batch.select(list(DISPLAY_COLUMNS)) for batch in empty])
    prices = pa.Table.from_batches([batch.select(list(PRICE_COLUMNS)) for batch in empty])
    vectors = np.empty((0, facts.embedder.dimension), np.float16)
    return Catalog(
        path, revision, facts, shown, prices, pa.array([], pa.large_string()), np.empty(0, np.int32), vectors
    )


def display_table(parts: Sequence[pa.RecordBatch]) -> pa.Table:
    """The display columns as one piece, nulls as empty texts: rows are taken from it for every answer."""
    table = pa.Table.from_batches(parts)
    columns = [table[name].fill_null("").cast(pa.large_string()).combine_chunks() for name in DISPLAY_COLUMNS]
    return pa.table(dict(zip(DISPLAY_COLUMNS, columns, strict=True)))


def normalised(vectors: NDArray[np.float16]) -> bool:
    """Returns whether every vector is finite and of length 1, within the precision of float16."""
    for start in range(0, len(vectors), BATCH_ROWS):
        found = lengths(float32(vectors[start : start + BATCH_ROWS]))
        if not bool(np.all(np.abs(found - 1.0) < NORM_TOLERANCE)):
            return False
    return True
