"""The display columns of the served revision, and the `Product` values made from them.

Rule: rows are taken for a whole batch of queries at once; one product that several of them found is made once.
"""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sightline_server.domain.items import Product


class ProductTable:
    """P products in memory as Arrow columns, as `Catalog.display` has them."""

    def __init__(self, display: pa.Table) -> None:
        self._display = display
        ids = display["id"].to_pylist()
        order = sorted(range(len(ids)), key=ids.__getitem__)
        self.id_ranks = np.empty(len(ids), np.int32)
        self.id_ranks[order] = np.arange(len(ids), dtype=np.int32)
        self.groups = group_numbers(display["item_group_id"])
        """Group of each row, int64 [P]: equal for the rows of one `item_group_id`, of its own for a row without."""

    def __len__(self) -> int:
        return len(self._display)

    def take(self, rows: Sequence[int]) -> list[Product]:
        """The products of `rows`."""
        taken = self._display.take(pa.array(rows, pa.int64()))
        columns = {name: taken[name].to_pylist() for name in taken.column_names}
        columns["attributes"] = [json.loads(text) if text else {} for text in columns["attributes"]]
        names = tuple(columns)
        return [Product(**dict(zip(names, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def group_numbers(names: pa.ChunkedArray) -> NDArray[np.int64]:
    """A number for each of the P names, int64 [P]; an empty name has a number that no other row has."""
    encoded = names.combine_chunks().dictionary_encode()
    numbers: NDArray[np.int64] = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    empty = pc.index(encoded.dictionary, pa.scalar("", encoded.dictionary.type)).as_py()
    # Both a null and, where no name is empty, `empty` are -1.
    alone = (numbers < 0) | (numbers == empty)
    numbers[alone] = len(encoded.dictionary) + np.flatnonzero(alone)
    return numbers
