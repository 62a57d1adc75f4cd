"""The display columns of the served revision, and the `Product` values made from them.

Rule: rows are taken for a whole batch of queries at once; one product that several of them found is made once.
"""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from sightline_server.domain.items import Product


class ProductTable:
    """P products in memory as Arrow columns, as `Catalog.display` has them."""

    def __init__(self, display: pa.Table) -> None:
        self._display = display
        ids = display["id"].to_pylist()
        order = sorted(range(len(ids)), key=ids.__getitem__)
        self.id_ranks = np.empty(len(ids), np.int32)
        self.id_ranks[order] = np.arange(len(ids), dtype=np.int32)

    def __len__(self) -> int:
        return len(self._display)

    def take(self, rows: Sequence[int]) -> list[Product]:
        """The products of `rows`."""
        taken = self._display.take(pa.array(rows, pa.int64()))
        *texts, attributes = (column.to_pylist() for column in taken.itercolumns())
        decoded = [json.loads(text) if text else {} for text in attributes]
        return [Product(*fields) for fields in zip(*texts, decoded, strict=True)]
