"""The products of a served revision: what the ranking reads of each as columns, and `Product` values made from them.

Rule: what every neighbour needs is an array or a number into a short list of texts; a whole product is made only where
it is shown.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sightline_server.domain.items import Neighbour, Product
from sightline_server.index.neighbours import Hit, IdOrder


class ProductTable:
    """P products in memory as Arrow columns, as `Catalog.display` has them. Any thread may read it."""

    def __init__(self, display: pa.Table) -> None:
        # Rows of a batch are taken faster than those of a table, which may be in several pieces.
        self._display = pa.RecordBatch.from_arrays([single(column) for column in display.columns], display.column_names)
        self._ids = single(display["id"])
        self.id_order = order_by(self._ids)
        self._categories = Texts.of(display["category"])
        self._availabilities = Texts.of(display["availability"])
        self.groups = group_numbers(display["item_group_id"])
        """Group of each row, int64 [P]: equal for the rows of one `item_group_id`, unique for a row without one."""

    def __len__(self) -> int:
        return int(self._display.num_rows)

    @property
    def display(self) -> pa.RecordBatch:
        """The columns of all products, as `Catalog.display` in one piece."""
        return self._display

    def groups_of(self, products: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """See `nearest.RankedProducts`."""
        found: NDArray[np.int64] = self.groups[products]
        return found

    def ids(self, rows: NDArray[np.integer[Any]]) -> list[str]:
        """The id of each of `rows`."""
        found: list[str] = self._ids.take(pa.array(rows)).to_pylist()
        return found

    def labels(self, rows: NDArray[np.int64]) -> Iterator[tuple[str, str]]:
        """Category and availability of each of `rows`."""
        return zip(self._categories.take(rows), self._availabilities.take(rows), strict=True)

    def neighbours(self, nearest: Sequence[Sequence[Hit]]) -> list[list[Neighbour]]:
        """The hits of each query as neighbours."""
        rows = np.fromiter((hit.product for hits in nearest for hit in hits), np.int64)
        facts = zip(
            self._ids.take(pa.array(rows)).to_pylist(),
            self._categories.take(rows),
            self._availabilities.take(rows),
            self.groups[rows].tolist(),
            strict=True,
        )
        return [[Neighbour(hit.product, hit.vector, hit.similarity, *next(facts)) for hit in hits] for hits in nearest]

    def take(self, rows: Sequence[int]) -> list[Product]:
        """The products of `rows`."""
        taken = self._display.take(pa.array(rows, pa.int64()))
        columns = {name: taken[name].to_pylist() for name in taken.column_names}
        names = tuple(columns)
        return [product_of(dict(zip(names, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def product_of(shown: dict[str, Any]) -> Product:
    """The product of one row's `schema.DISPLAY_COLUMNS`, in which nothing is null. `shown` is used up."""
    text = shown["attributes"]
    shown["attributes"] = json.loads(text) if text else {}
    return Product(**shown)


def order_by(ids: pa.Array) -> IdOrder:
    """For product rows [N], the rank of each one's id among these ids, [N]."""

    def ranks(rows: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        found: NDArray[np.integer[Any]] = pc.rank(ids.take(pa.array(rows, pa.int64())), tiebreaker="dense").to_numpy()
        return found

    return ranks


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """A column of texts that repeat: `numbers` int32 [P] into `texts`."""

    numbers: NDArray[np.int32]
    texts: list[str]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Self:
        """The texts of `column`, which has no nulls."""
        encoded = single(column).dictionary_encode()
        return cls(encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32), encoded.dictionary.to_pylist())

    def take(self, rows: NDArray[np.int64]) -> list[str]:
        """The texts of `rows`."""
        return [self.texts[number] for number in self.numbers[rows].tolist()]


def group_numbers(names: pa.ChunkedArray) -> NDArray[np.int64]:
    """A number for each of the P names, int64 [P]; an empty name has a number that no other row has."""
    encoded = names.combine_chunks().dictionary_encode()
    numbers: NDArray[np.int64] = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    empty = pc.index(encoded.dictionary, pa.scalar("", encoded.dictionary.type)).as_py()
    # Both a null and, where no name is empty, `empty` are -1.
    alone = (numbers < 0) | (numbers == empty)
    numbers[alone] = len(encoded.dictionary) + np.flatnonzero(alone)
    return numbers


def single(column: pa.ChunkedArray) -> pa.Array:
    """The column as one piece."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
