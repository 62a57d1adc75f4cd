"""The products of a catalog that is written, as they are after all acknowledged writes.

Rule: writers wait only while rows are taken; ids are sorted outside of that, once for each version of the base.
"""

from bisect import bisect_right
from collections.abc import Iterator
from heapq import merge
from itertools import islice

import pyarrow as pa

from sightline_server.catalog.current import Current, etag_of
from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.catalog_rows import StoredProduct
from sightline_server.domain.image_views import distinct_links
from sightline_server.index.products import product_of
from sightline_server.index.schema import DISPLAY_COLUMNS, views_in


class CatalogReading:
    """Reads through the store of the writer. Blocking; one thread at a time."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store
        self._base_ids: dict[str, int] = {}
        self._sorted: list[str] = []

    def get(self, product_id: str) -> StoredProduct | None:
        """The product of `product_id`; None where there is none."""
        with self._store.current() as current:
            row = current.row(product_id)
        return None if row is None else stored_product(row, self._views)

    def page(self, after: str, limit: int) -> tuple[StoredProduct, ...]:
        """At most `limit` products whose ids come after `after`, by id."""
        self._sort()
        with self._store.current() as current:
            rows = [current.row(product_id) for product_id in islice(self._ids(current, after), limit)]
        return tuple(stored_product(row, self._views) for row in rows if row is not None)

    @property
    def _views(self) -> int:
        """The views of each image; those of a catalog change with its generation."""
        return views_in(self._store.facts)

    def count(self) -> int:
        """The number of products."""
        with self._store.current() as current:
            return current.count()

    def _sort(self) -> None:
        with self._store.current() as current:
            ids = current.base_ids()
        if ids is not self._base_ids:
            self._base_ids, self._sorted = ids, sorted(ids)

    def _ids(self, current: Current, after: str) -> Iterator[str]:
        """The ids after `after`, in order. Text is compared by code points, which is the order of its UTF-8 bytes."""
        if current.base_ids() is not self._base_ids:  # a checkpoint came in between
            self._base_ids = current.base_ids()
            self._sorted = sorted(self._base_ids)
        changed = dict(current.changed())
        new = sorted(product_id for product_id, alive in changed.items() if alive and product_id > after)
        start = bisect_right(self._sorted, after)
        old = (self._sorted[place] for place in range(start, len(self._sorted)))
        return merge((product_id for product_id in old if product_id not in changed), new)


def stored_product(row: pa.RecordBatch, views: int) -> StoredProduct:
    """The product of one whole row of a catalog with so many `views` of each image."""
    shown = {name: row[name][0].as_py() or "" for name in DISPLAY_COLUMNS}
    return StoredProduct(product_of(shown), distinct_links(row["images"][0].as_py(), views), etag_of(row))
