"""A built catalog as a Lance dataset: its fragments written, committed, and opened again.

Rule: nothing is visible to a reader before the commit.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.digest import ContentDigest
from sightline_server.index.schema import CatalogFacts, CatalogRow, catalog_schema
from sightline_server.index.schema import to_table as rows_to_table
from sightline_server.index.staging import require_utf8

# Lance reads it once, at its import; its warnings are about what a build does on purpose.
os.environ.setdefault("LANCE_LOG", "error")

import lance
from lance.fragment import write_fragments

BATCH_ROWS = 4096


class DatasetWriter:
    """Writes one dataset: fragments first, one commit last. Nothing is visible to a reader before the commit."""

    def __init__(self, path: Path, embedder: EmbedderSpec, views: int = ONE_VIEW) -> None:
        self._path = path
        self._embedder = embedder
        self._views = views
        self._schema = catalog_schema(embedder.dimension)
        self._digest = ContentDigest(self._schema.names)
        self._fragments: list[Any] = []
        self._products = self._vectors = self._max_images = 0

    def write(self, rows: Sequence[CatalogRow]) -> None:
        """Writes `rows` as a fragment; their ids are unique within the catalog."""
        table = rows_to_table(rows, self._embedder.dimension)
        self._digest.update(table)
        self._fragments += write_fragments(table, str(self._path), schema=self._schema, mode="create")
        self._products += len(rows)
        self._vectors += sum(len(row.images) for row in rows)
        self._max_images = max(self._max_images, *(len(row.images) for row in rows))

    def commit(self, built_at: str) -> CatalogFacts:
        """Makes the dataset of all fragments."""
        facts = CatalogFacts(
            embedder=self._embedder,
            products=self._products,
            vectors=self._vectors,
            max_images=self._max_images,
            content_sha256=self._digest.hexdigest(),
            built_at=built_at,
            views=self._views,
        )
        schema = self._schema.with_metadata(facts.metadata())
        lance.LanceDataset.commit(str(self._path), lance.LanceOperation.Overwrite(schema, self._fragments))
        return facts


def open_dataset(path: Path) -> Any:
    """The Lance dataset at `path`."""
    if not (path / "_versions").is_dir():
        message = f"there is no catalog at {path}; make one with: sightline catalog build FEED --out {path}"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    require_utf8(path)
    try:
        return lance.dataset(str(path))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise damaged(path, "it cannot be opened") from error


def revision_of(dataset: Any, facts: CatalogFacts) -> str:
    """The dataset's version and the first digits of its digest."""
    return f"{dataset.version}-{facts.content_sha256[:12]}"


def batches(dataset: Any) -> Iterator[pa.RecordBatch]:
    """All rows in order."""
    found: Iterator[pa.RecordBatch] = dataset.to_batches(batch_size=BATCH_ROWS, scan_in_order=True)
    return found


def damaged(path: Path, what: str) -> SightlineError:
    """The error of a catalog that cannot be trusted."""
    return SightlineError(ErrorKind.CONFIGURATION, f"the catalog at {path} is damaged: {what}; build it again")
