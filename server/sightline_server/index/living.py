"""Writing products to a catalog that is served: rows are checked, then stored in groups.

Rule: a product that cannot be stored is refused before anything of its group is written, with what is wrong with it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from sightline_server.catalog.checkpoint import Checkpoint
from sightline_server.catalog.operations import Delete, Update, Upsert, Write
from sightline_server.catalog.revisions import Revision
from sightline_server.catalog.store import CatalogStore
from sightline_server.catalog.writing import Receipt
from sightline_server.domain.catalog_rows import ProductUpdate as ProductUpdate
from sightline_server.domain.embedders import Embedders
from sightline_server.domain.models import EmbedderSpec, embedder_mismatch
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adopting import adopt
from sightline_server.index.kept_features import kept_features
from sightline_server.index.opened_catalog import NORM_TOLERANCE
from sightline_server.index.originals import KeptOriginals
from sightline_server.index.schema import MAX_IMAGES, NO_COUNTS, CatalogFacts, CatalogRow, living_facts, to_batch

UPDATABLE = ("title", "brand", "category", "availability", "link", "item_group_id", "gtin")
"""Texts of a product that can be changed without its images."""


class LivingCatalog:
    """A context: the only writer of the catalog at `path`, which gets a log if it has none.

    Blocking. Raises `SightlineError` as `adopt` and `CatalogStore`.
    """

    def __init__(self, path: Path, *, actor: str = "", store: CatalogStore | None = None) -> None:
        self._path = path
        self._actor = actor
        self.store = store or CatalogStore(path, actor=actor)
        self.originals = KeptOriginals(path)
        self.features = kept_features(path)
        self._parsed: tuple[Mapping[str, Any], CatalogFacts] | None = None
        """The facts of a generation, as stored and as parsed."""

    def __enter__(self) -> Self:
        adopt(self._path, actor=self._actor)
        self.store.__enter__()
        try:
            self.originals.open(self.store.revisions)
            self.features.open(self.store.revisions)
        except BaseException:
            self.originals.close()
            self.store.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.originals.close()
        self.features.close()
        self.store.__exit__(kind, error, trace)

    @property
    def embedder(self) -> EmbedderSpec:
        """The embedder of the current generation."""
        return self._facts.embedder

    @property
    def views(self) -> int:
        """The views of each image in the current generation."""
        return self._facts.views

    @property
    def _facts(self) -> CatalogFacts:
        """The facts of the current generation, without counts; parsed once, because each write asks for them."""
        facts, parsed = self.store.facts, self._parsed
        if parsed is None or parsed[0] is not facts:
            parsed = self._parsed = facts, living_facts(facts, NO_COUNTS)
        return parsed[1]

    def require_embedder(self, embedders: Embedders) -> EmbedderSpec:
        """The one of `embedders` that makes such vectors as this catalog's.

        Raises `SightlineError` of kind CONFIGURATION when none does.
        """
        try:
            return embedders.serving(self.embedder)
        except SightlineError as error:
            message = f"the catalog at {self._path} was made with another embedder: {error.message}"
            raise SightlineError(ErrorKind.CONFIGURATION, message) from error

    def require_own(self, rows: Sequence[CatalogRow]) -> None:
        """Raises `SightlineError` of kind EMBEDDER_CHANGED where embeddings are not of the embedder of now, or of its
        number of views."""
        embedder, views = self.embedder, self.views
        for row in rows:
            if row.embedder is not None and embedder_mismatch(embedder, row.embedder):
                message = "the catalog has got another embedder since the images were embedded; send the product again"
                raise SightlineError(ErrorKind.EMBEDDER_CHANGED, message)
            if row.views not in (0, views):
                message = "the catalog has got other views since the images were embedded; send the product again"
                raise SightlineError(ErrorKind.EMBEDDER_CHANGED, message)

    def upsert(self, rows: Sequence[CatalogRow], request_id: str = "") -> Receipt:
        """Adds products or replaces those of the same id, in one transaction.

        Raises `SightlineError` of kind INVALID_REQUEST that names the product and what is wrong with it; nothing is
        written then.
        """
        self.require_own(rows)
        for row in rows:
            if reason := self.fault(row):
                raise SightlineError(ErrorKind.INVALID_REQUEST, f"product {row.product.id!r}: {reason}")
        self.originals.link(rows)
        self.features.link(rows)
        return self._write([Upsert(batch) for batch in batches(rows, self.embedder.dimension)], request_id)

    def update(self, updates: Sequence[ProductUpdate], request_id: str = "") -> Receipt:
        """Changes fields of products; their images and embeddings stay. Errors as `upsert`."""
        return self._write([Update(update.id, changes(update)) for update in updates], request_id)

    def delete(self, ids: Sequence[str], request_id: str = "") -> Receipt:
        """Removes products."""
        return self._write([Delete(row_id) for row_id in ids], request_id)

    def checkpoint(self, note: str = "", ahead: Checkpoint | None = None) -> Revision:
        """Makes a revision of what was written. See `CatalogStore.checkpoint`."""
        revision = self.store.checkpoint(note, ahead)
        self.originals.tidy(self.store.revisions)
        self.features.tidy(self.store.revisions)
        return revision

    def compact(self, keep: int | None = None) -> Revision:
        """See `CatalogStore.compact`; originals and features that no kept revision needs go as well."""
        revision = self.store.compact(keep)
        self.originals.sweep(idle=True)
        self.features.sweep(idle=True)
        return revision

    def fault(self, row: CatalogRow) -> str:
        """The reason why a product cannot be stored in this catalog; empty when it can."""
        return row_fault(row, self.embedder.dimension)

    def _write(self, writes: Sequence[Write], request_id: str) -> Receipt:
        receipt = self.store.write(writes, request_id)
        if self.store.checkpoint_due:
            self.store.checkpoint("the log was full")
        return receipt


def row_fault(row: CatalogRow, dimension: int) -> str:
    """The reason why a product cannot be stored with vectors of `dimension` numbers; empty when it can."""
    vectors = row.embeddings
    if not row.product.id:
        return "it has no id"
    if not 0 < len(row.images) <= MAX_IMAGES:
        return f"it has {len(row.images)} images, expected 1 to {MAX_IMAGES}"
    if vectors.shape != (len(row.images), dimension):
        return f"its embeddings have the shape {list(vectors.shape)}, expected {[len(row.images), dimension]}"
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if not bool(np.all(np.isfinite(lengths))):
        return "an embedding has a number that is not finite"
    if not bool(np.all(np.abs(lengths - 1.0) < NORM_TOLERANCE / 2)):
        return f"an embedding has length {lengths[np.argmax(np.abs(lengths - 1.0))]:.3g}, expected 1"
    return ""


def batches(rows: Sequence[CatalogRow], dimension: int) -> list[pa.RecordBatch]:
    """Each product as a batch of one row."""
    if not rows:
        return []
    try:
        together = to_batch(rows, dimension)
        return [together.slice(position, 1) for position in range(len(rows))]
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        message = "a value of a product cannot be stored; check it for characters that are not Unicode text"
        raise SightlineError(ErrorKind.INVALID_REQUEST, message) from error


def changes(update: ProductUpdate) -> dict[str, Any]:
    """The columns that an update changes."""
    unknown = set(update.texts) - set(UPDATABLE)
    if unknown:
        names = ", ".join(sorted(unknown))
        message = f"product {update.id!r}: {names} cannot be updated; expected {', '.join(UPDATABLE)}"
        raise SightlineError(ErrorKind.INVALID_REQUEST, message)
    columns: dict[str, Any] = {name: text or None for name, text in update.texts.items()}
    if update.price is not None:
        price = update.price
        columns |= {"price": str(price), "price_amount": price.amount, "price_currency": price.currency}
    if update.attributes is not None:
        text = json.dumps(dict(update.attributes), ensure_ascii=False) if update.attributes else None
        columns["attributes"] = text
    return columns
