"""The catalog as a Lance dataset: writing its fragments, committing it, opening it. The only lance import.

Rule: what cannot be trusted is refused. A catalog is opened only when its rows are those that were written, whole and
unchanged, and its vectors come from the embedder that is in use.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.catalog.base import UNREADABLE, panics
from sightline_server.catalog.content import Content, is_living, read_content, read_revision, revision_name
from sightline_server.catalog.digest import SumDigest
from sightline_server.catalog.log import read_current, read_recorded
from sightline_server.catalog.revisions import Revision
from sightline_server.domain.embedders import Embedders
from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.verdict import FittedVerdict
from sightline_server.domain.weights import FittedWeights
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adaptation import stored_adaptation
from sightline_server.index.adapter import AdaptedRows, Adapter
from sightline_server.index.digest import ContentDigest
from sightline_server.index.half_floats import float32, lengths
from sightline_server.index.schema import (
    DISPLAY_COLUMNS,
    PRICE_COLUMNS,
    CatalogFacts,
    CatalogRow,
    catalog_schema,
    living_facts,
)
from sightline_server.index.schema import to_table as rows_to_table
from sightline_server.index.staging import require_utf8
from sightline_server.index.vectors import VectorRows

# Lance reads it once, at its import; its warnings are about what a build does on purpose.
os.environ.setdefault("LANCE_LOG", "error")

import lance
from lance.fragment import write_fragments

BATCH_ROWS = 4096
REOPENINGS = 3
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


def read_facts(path: Path) -> CatalogFacts:
    """The facts that the catalog at `path` states about itself, without reading its rows. Errors as `open_catalog`."""
    if is_living(path):
        return facts_of(read_content(path))
    return CatalogFacts.parse(open_dataset(path).schema.metadata)


def read_identity(path: Path) -> tuple[str, str]:
    """The revision at `path` and when it was built, without reading its rows. Errors as `open_catalog`."""
    if is_living(path):
        recorded = read_recorded(path)
        return revision_name(recorded), recorded.current.created_at
    dataset = open_dataset(path)
    facts = CatalogFacts.parse(dataset.schema.metadata)
    return revision_of(dataset, facts), facts.built_at


def revision_of(dataset: Any, facts: CatalogFacts) -> str:
    """The dataset's version and the first digits of its digest."""
    return f"{dataset.version}-{facts.content_sha256[:12]}"


def open_catalog(
    path: Path, embedders: Embedders | None = None, *, may_be_empty: bool = False, number: int | None = None
) -> Catalog:
    """Reads and checks the catalog at `path`, and binds it to one of `embedders` where those are given.

    With `may_be_empty`, a catalog with a log may have no products. A catalog that is replaced meanwhile is read again.
    With `number`, the content of that kept revision of a catalog with a log, which need not be the current one.
    Raises `SightlineError` of kind CONFIGURATION that says what is wrong and what to do.
    """
    for _ in range(REOPENINGS):
        before = state_of(path)
        try:
            catalog = read_catalog(path, embedders, may_be_empty=may_be_empty, number=number)
        except SightlineError:
            if state_of(path) == before:
                raise
            continue
        # The rows of a catalog with a log are of one moment whatever was written meanwhile.
        if is_living(path) or state_of(path) == before:
            return catalog
    raise SightlineError(ErrorKind.CONFIGURATION, f"the catalog at {path} was replaced repeatedly while it was opened")


def state_of(path: Path) -> tuple[int, ...] | None:
    """Facts that change when another catalog or version is put at `path`, but not when a log is written to."""
    if not is_living(path):
        return folder_identity(path)
    try:
        current = read_current(path)
        return path.stat().st_ino, current.generation, current.base_version or 0
    except (SightlineError, OSError):
        return None


def folder_identity(path: Path) -> tuple[int, int] | None:
    """The identity of the directory at `path`: its inode number, which is soon used again, and its time of change."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


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


def read_catalog(
    path: Path, embedders: Embedders | None, *, may_be_empty: bool = False, number: int | None = None
) -> Catalog:
    """One attempt of `open_catalog`."""
    if is_living(path):
        return read_living(path, embedders, may_be_empty=may_be_empty, number=number)
    dataset = open_dataset(path)
    facts = bound(path, CatalogFacts.parse(dataset.schema.metadata), embedders)
    if dataset.schema.remove_metadata() != catalog_schema(facts.embedder.dimension):
        raise damaged(path, "its columns are not those of a catalog")
    try:
        return assemble(path, revision_of(dataset, facts), facts, batches(dataset))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise damaged(path, "its files cannot be read") from error


def read_living(
    path: Path, embedders: Embedders | None, *, may_be_empty: bool = False, number: int | None = None
) -> Catalog:
    """One attempt of `open_catalog` at a catalog with a log."""
    require_utf8(path)
    try:
        with panics():
            content = read_content(path) if number is None else read_revision(path, number)
            facts = bound(path, facts_of(content), embedders)
            moment = Moment(content.recorded.current, content.recorded.last_seq)
            if not content.rows and may_be_empty:
                return adapted(empty_catalog(path, content.revision, facts), moment)
            if not content.rows:
                message = f"the catalog at {path} has no products; add some with: sightline catalog upsert"
                raise SightlineError(ErrorKind.CONFIGURATION, message)
            catalog = assemble(path, content.revision, facts, content.batches(), SumDigest())
            return adapted(catalog, moment)
    except UNREADABLE as error:
        raise damaged(path, "its files cannot be read") from error


def adapted(catalog: Catalog, moment: Moment) -> Catalog:
    """The catalog with what was fitted for its moment. Raises `SightlineError` of kind CONFIGURATION."""
    found = stored_adaptation(catalog.path, moment.revision.adapter, catalog.facts.embedder.dimension)
    return replace(catalog, content=moment, adapter=found.adapter, weights=found.weights, verdict=found.verdict)


def facts_of(content: Content) -> CatalogFacts:
    """The facts of a catalog with a log."""
    counts = {"products": content.rows, "vectors": content.items, "max_images": content.most_items}
    return living_facts(content.facts, counts | {"content_sha256": content.digest, "built_at": content.created_at})


def bound(path: Path | str, facts: CatalogFacts, embedders: Embedders | None) -> CatalogFacts:
    """The facts with the served embedder that makes such vectors; as they are where nothing is served.

    Raises `SightlineError` of kind CONFIGURATION when the vectors are of none of `embedders`.
    """
    if embedders is None:
        return facts
    try:
        return replace(facts, embedder=embedders.serving(facts.embedder))
    except SightlineError as error:
        message = (
            f"the catalog at {path} was made with another embedder: {error.message}. "
            "Build it again with the engine that is in use, or serve it with the engine that it was made with"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error


def batches(dataset: Any) -> Iterator[pa.RecordBatch]:
    """All rows in order."""
    found: Iterator[pa.RecordBatch] = dataset.to_batches(batch_size=BATCH_ROWS, scan_in_order=True)
    return found


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


def damaged(path: Path, what: str) -> SightlineError:
    """The error of a catalog that cannot be trusted."""
    return SightlineError(ErrorKind.CONFIGURATION, f"the catalog at {path} is damaged: {what}; build it again")
