"""Building a catalog: rows in, one checked and published dataset out.

Rule: a catalog appears only after it was opened again and found whole.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from sightline_server.catalog.originals_file import FEATURE_FILES, IMAGE_FILES, create_originals
from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.items import Product
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.index.dataset import DatasetWriter
from sightline_server.index.kept_features import kept_features
from sightline_server.index.originals import KeptOriginals
from sightline_server.index.schema import MAX_IMAGES, CatalogFacts, CatalogRow
from sightline_server.index.staging import Staging

FRAGMENT_BYTES = 64 * 1024 * 1024


def text_bytes(product: Product) -> int:
    """About the bytes that the texts of a product take in memory: up to 64 KiB, more than its embeddings."""
    fields = (product.title, product.brand, product.category, product.link, product.image_link)
    return sum(map(len, (*fields, *product.attributes, *product.attributes.values())))


class CatalogWriter:
    """A context that builds the catalog `out`; leaving it without `publish` leaves nothing behind.

    Not thread-safe, but for `originals` and `features`, and its calls block on the disk: a fragment of 64 MiB of
    embeddings and texts takes about 0.1 s. With `keep_originals` the catalog keeps the original files of its images,
    with `local_features` their local features. The rows have so many `views` of each image.
    """

    def __init__(
        self,
        out: Path,
        embedder: EmbedderSpec,
        *,
        replace: bool,
        keep_originals: bool = False,
        local_features: bool = False,
        views: int = ONE_VIEW,
    ) -> None:
        self._embedder = embedder
        self.views = views
        self._kinds = [IMAGE_FILES] * keep_originals + [FEATURE_FILES] * local_features
        self._staging = Staging(out, replace=replace)
        self.originals = KeptOriginals(self._staging.path)
        self.features = kept_features(self._staging.path)
        self._dataset = DatasetWriter(self._staging.path, embedder, views)
        self._pending: list[CatalogRow] = []
        self._pending_bytes = 0
        self._ids: set[str] = set()

    def __enter__(self) -> Self:
        self._staging.__enter__()
        if self._kinds:
            try:
                self._staging.path.mkdir()
                for kind in self._kinds:
                    create_originals(self._staging.path, kind)
                self.originals.open(())
                self.features.open(())
            except BaseException:
                self._staging.__exit__(None, None, None)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.originals.close()
        self.features.close()
        self._staging.__exit__(kind, error, trace)

    @property
    def products(self) -> int:
        """The number of products that were added."""
        return len(self._ids)

    def add(self, rows: Sequence[CatalogRow]) -> None:
        """Adds products. Raises `ValueError` for an id that is there already or embeddings of a wrong shape."""
        for row in rows:
            if not row.product.id or row.product.id in self._ids:
                raise ValueError("a catalog's product ids are unique and not empty")
            if not 0 < len(row.images) <= MAX_IMAGES:
                raise ValueError(f"a product has 1 to {MAX_IMAGES} images")
            if row.embeddings.shape != (len(row.images), self._embedder.dimension):
                raise ValueError("a product has one embedding of the embedder's dimension per image")
            self._ids.add(row.product.id)
            self._pending.append(row)
            self._pending_bytes += row.embeddings.nbytes + text_bytes(row.product)
        self.originals.link(rows)
        self.features.link(rows)
        if self._pending_bytes >= FRAGMENT_BYTES:
            self._flush()

    def publish(self, built_at: datetime) -> CatalogFacts:
        """Commits, checks and publishes what was added.

        Raises `SightlineError` of kind CONFIGURATION when nothing was added or the result cannot be read back.
        """
        self._flush()
        if not self._ids:
            raise SightlineError(ErrorKind.CONFIGURATION, "a catalog needs at least one product")
        facts = self._dataset.commit(built_at.isoformat(timespec="seconds"))
        open_catalog(self._staging.path, self._embedder)
        self.originals.seal()
        self.features.seal()
        self._staging.publish()
        return facts

    def _flush(self) -> None:
        if self._pending:
            self._dataset.write(self._pending)
            self._pending, self._pending_bytes = [], 0
