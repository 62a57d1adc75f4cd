"""A dictionary-encoded column in its inverted form: for each distinct text the rows that have it.

Rule: texts are sorted as UTF-8 sorts them, which is how Python compares them; rows of one text are ascending.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Rows = NDArray[np.int32]
NO_ROWS: Rows = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """`rows[starts[t]:starts[t + 1]]` are those of `texts[t]`: T texts, int64 [T+1], int32 [N]."""

    texts: pa.LargeStringArray
    starts: NDArray[np.int64]
    rows: Rows

    @classmethod
    def of_column(cls, column: pa.Array, form: Callable[[str], str] | None = None) -> Self:
        """The postings of a column with one text a row, each in its `form`; an empty one is in none."""
        encoded = column.dictionary_encode()
        numbers = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        rows = np.flatnonzero(numbers >= 0).astype(np.int32)
        texts = encoded.dictionary
        if form is not None:
            texts = pa.array([form(text) for text in texts.to_pylist()], pa.large_string())
        return cls.of_numbers(texts, numbers[rows], rows)

    @classmethod
    def of_numbers(cls, texts: pa.Array | Sequence[str], numbers: NDArray[np.integer[Any]], rows: Rows) -> Self:
        """The postings of N pairs: row `rows[n]`, ascending, has `texts[numbers[n]]`. Texts may repeat."""
        distinct = pa.array(texts, pa.large_string()).dictionary_encode()
        order = pc.sort_indices(distinct.dictionary).to_numpy()
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        ranked = ranks[distinct.indices.to_numpy(zero_copy_only=False)][numbers]
        in_order = np.argsort(ranked, kind="stable")
        starts = np.searchsorted(ranked[in_order], np.arange(len(order) + 1))
        return cls(distinct.dictionary.take(pa.array(order)), starts.astype(np.int64), rows[in_order])

    def having(self, text: str) -> Rows:
        """The rows that have `text`; none for an empty one."""
        place = self._place(text)
        if not text or place == len(self.texts) or self.texts[place].as_py() != text:
            return NO_ROWS
        return self.rows[self.starts[place] : self.starts[place + 1]]

    def below(self, path: str, separator: str) -> Rows:
        """The rows whose text is `path`, or begins with it and `separator`; none for an empty path."""
        if not path:
            return NO_ROWS
        first, last = self._place(path + separator), self._place(path + chr(ord(separator) + 1))
        return np.concatenate([self.having(path), self.rows[self.starts[first] : self.starts[last]]])

    def _place(self, text: str) -> int:
        return bisect_left(range(len(self.texts)), text, key=lambda place: self.texts[place].as_py())
