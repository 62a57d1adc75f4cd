"""The rows of a catalog as a stream, checked against its digest: what an export reads.

Rule: memory is bounded by one batch. A reader learns at the end whether what it was given is what was written, so it
publishes nothing before that.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from sightline_server.catalog.base import UNREADABLE, panics
from sightline_server.catalog.content import Content, is_living, read_content, read_revision
from sightline_server.catalog.digest import SumDigest
from sightline_server.domain.items import Product
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import facts_of
from sightline_server.index.dataset import damaged, open_dataset, revision_of
from sightline_server.index.digest import ContentDigest
from sightline_server.index.schema import TEXT_COLUMNS, CatalogFacts, CatalogRow, Price

BATCH_ROWS = 1024
PRODUCT_TEXTS = ("id", *TEXT_COLUMNS[:-1])


class Digest(Protocol):
    """Sums up rows."""

    def update(self, rows: pa.RecordBatch) -> None:
        """Adds `rows`."""

    def hexdigest(self) -> str:
        """The digest of all rows so far."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredRows:
    """One revision of the catalog at `path`; `read` gives its batches, whole or with some columns."""

    path: Path
    revision: str
    facts: CatalogFacts
    read: Callable[[Sequence[str] | None], Iterator[pa.RecordBatch]]
    digest: Callable[[], Digest]

    def columns(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The columns `names` of all rows. Raises as `checked`, but the rows are not compared with the digest."""
        with reading_errors(self.path):
            yield from self.read(names)

    def checked(self) -> Iterator[list[CatalogRow]]:
        """All products, some at a time.

        Raises `SightlineError` of kind CONFIGURATION where the files are damaged, at the latest after the last product.
        """
        digest = self.digest()
        with reading_errors(self.path):
            for batch in self.read(None):
                digest.update(batch)
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield rows_of(batch.slice(start, BATCH_ROWS))
        if digest.hexdigest() != self.facts.content_sha256:
            raise damaged(self.path, "its content is not what was written")


def stored_rows(path: Path, revision: int | None = None) -> StoredRows:
    """The catalog at `path` as it is now, with what is in its log, or as it was at `revision`.

    Raises `SightlineError` of kind CONFIGURATION where there is no catalog or it is damaged, INVALID_REQUEST where the
    revision does not exist or its content was removed.
    """
    with reading_errors(path):
        if is_living(path):
            return living(path, read_content(path) if revision is None else read_revision(path, revision))
        if revision not in (None, 1):
            message = f"there is no revision {revision}; the catalog was never changed, its only revision is 1"
            raise SightlineError(ErrorKind.INVALID_REQUEST, message)
        return built(path)


def living(path: Path, content: Content) -> StoredRows:
    """The rows of a catalog with a log."""
    return StoredRows(path, content.revision, facts_of(content), content.batches, SumDigest)


def built(path: Path) -> StoredRows:
    """The rows of a catalog that was never changed."""
    dataset = open_dataset(path)
    facts = CatalogFacts.parse(dataset.schema.metadata)

    def read(columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        names = None if columns is None else list(columns)
        found: Iterator[pa.RecordBatch] = dataset.to_batches(columns=names, batch_size=BATCH_ROWS, scan_in_order=True)
        return found

    names = dataset.schema.names
    return StoredRows(path, revision_of(dataset, facts), facts, read, lambda: ContentDigest(names))


@contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """Turns errors of damaged files into `SightlineError` of kind CONFIGURATION."""
    try:
        with panics():
            yield
    except UNREADABLE as error:
        raise damaged(path, "its files cannot be read") from error


def rows_of(batch: pa.RecordBatch) -> list[CatalogRow]:
    """The products of a batch of `catalog_schema`, with embeddings float16 as float32."""
    amounts, currencies = batch["price_amount"].to_pylist(), batch["price_currency"].to_pylist()
    prices = [None if a is None else Price(a, c or "") for a, c in zip(amounts, currencies, strict=True)]
    images = [tuple(links) for links in batch["images"].to_pylist()]
    return [CatalogRow(*each) for each in zip(products_of(batch), prices, images, embeddings_of(batch), strict=True)]


def products_of(batch: pa.RecordBatch) -> list[Product]:
    """The products of a batch that has the columns of texts."""
    columns = {name: text_values(batch[name]) for name in PRODUCT_TEXTS}
    texts = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    attributes = [json.loads(text) if text else {} for text in batch["attributes"].to_pylist()]
    return [Product(**each, attributes=more) for each, more in zip(texts, attributes, strict=True)]


def text_values(column: pa.Array) -> list[str]:
    """The texts of a column, empty where there is none."""
    found: list[str] = column.fill_null("").to_pylist()
    return found


def embeddings_of(batch: pa.RecordBatch) -> Iterator[Any]:
    """The embeddings float32 [N,D] of each row."""
    lists = batch["embeddings"]
    vectors = lists.flatten()
    flat = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    each = flat.reshape(len(vectors), -1)
    counts = lists.value_lengths().to_numpy(zero_copy_only=False)
    return iter(np.split(each, np.cumsum(counts)[:-1]))
