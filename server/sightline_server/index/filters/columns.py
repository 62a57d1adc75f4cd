"""The columns of a revision that filters read, made when it is opened.

Rule: typed. Amounts are integers of 1/10,000 with a currency, so that no price is compared across currencies and none
is rounded; text is in the form of `texts.py`.
"""

import json
from array import array
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.index.filters.postings import Postings
from sightline_server.index.filters.texts import attribute_texts, category_path, compared, compared_name

PRICE_DECIMALS = 4
BLOCK_ROWS = 4096
LISTS = ("brands", "categories", "availabilities", "groups", "ids", "attributes", "currencies")
PARTS = ("texts", "starts", "rows")


@dataclass(frozen=True, slots=True, eq=False)
class FilterColumns:
    """Of P products; `amounts` is int64 [P], and means something only where the product has a currency."""

    brands: Postings
    categories: Postings
    availabilities: Postings
    groups: Postings
    ids: Postings
    attributes: Postings
    currencies: Postings
    amounts: NDArray[np.int64]

    @classmethod
    def of(cls, display: pa.Table, prices: pa.Table) -> Self:
        """The columns of a catalog: `display` as `Catalog.display`, and `price_amount` with `price_currency`."""

        def column(table: pa.Table, name: str) -> pa.Array:
            return table[name].combine_chunks()

        return cls(
            brands=Postings.of_column(column(display, "brand"), compared),
            categories=Postings.of_column(column(display, "category"), category_path),
            availabilities=Postings.of_column(column(display, "availability"), compared_name),
            groups=Postings.of_column(column(display, "item_group_id")),
            ids=Postings.of_column(column(display, "id")),
            attributes=attribute_postings(display["attributes"]),
            currencies=Postings.of_column(column(prices, "price_currency")),
            amounts=scaled_amounts(column(prices, "price_amount")),
        )

    @property
    def products(self) -> int:
        """P."""
        return len(self.amounts)

    def to_table(self) -> pa.Table:
        """All columns as lists in one row, for a file that processes map."""
        arrays = {"amounts": pa.array(self.amounts)}
        for name in LISTS:
            postings = getattr(self, name)
            arrays |= {f"{name}.{part}": pa.array(getattr(postings, part)) for part in PARTS}
        return pa.table({name: one_list(values) for name, values in arrays.items()})

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """The reverse of `to_table`; the arrays are views of the table's memory."""

        def values(name: str) -> Any:
            return table[name].chunk(0).flatten()

        def postings(name: str) -> Postings:
            starts, rows = (values(f"{name}.{part}").to_numpy() for part in PARTS[1:])
            return Postings(values(f"{name}.texts"), starts, rows)

        lists = {name: postings(name) for name in LISTS}
        return cls(**lists, amounts=values("amounts").to_numpy())


def one_list(values: pa.Array) -> pa.Array:
    """The values as the one element of a column of lists."""
    return pa.LargeListArray.from_arrays(pa.array([0, len(values)], pa.int64()), values)


def scaled_amounts(column: pa.Array) -> NDArray[np.int64]:
    """Amounts decimal(18,4) as integers of 1/10,000; any number for a null."""
    if not len(column):
        return np.empty(0, np.int64)
    # Arrow stores 16 bytes a value, little end first; 18 digits fit into the first 8.
    words = np.frombuffer(column.buffers()[1], np.int64)
    return words[2 * column.offset : 2 * (column.offset + len(column)) : 2].copy()


def attribute_postings(column: pa.ChunkedArray) -> Postings:
    """The postings of a column of JSON objects: each attribute with each of its values."""
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    rows = np.flatnonzero(codes >= 0)
    numbers, starts, texts = attribute_numbers(encoded.dictionary)
    first, counts = starts[codes[rows]], np.diff(starts)[codes[rows]]
    # The positions of all numbers of each row, one row after the other.
    places = np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    return Postings.of_numbers(texts, numbers[places], np.repeat(rows, counts).astype(np.int32))


def attribute_numbers(stated: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.int64], list[str]]:
    """The attributes of each of N JSON objects as numbers into a list of texts.

    Those of object n are `numbers[starts[n]:starts[n + 1]]`. Products share objects, so that each is parsed once.
    """
    numbers, starts = array("i"), array("q", [0])
    known: dict[tuple[str, str], list[int]] = {}
    texts: dict[str, int] = {}
    for start in range(0, len(stated), BLOCK_ROWS):
        for text in stated.slice(start, BLOCK_ROWS).to_pylist():
            for pair in json.loads(text).items() if text else ():
                if (found := known.get(pair)) is None:
                    found = [texts.setdefault(each, len(texts)) for each in dict.fromkeys(attribute_texts(*pair))]
                    known[pair] = found
                numbers.extend(found)
            starts.append(len(numbers))
    return np.asarray(numbers, np.int32), np.asarray(starts, np.int64), list(texts)
