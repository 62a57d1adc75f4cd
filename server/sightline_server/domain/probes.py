"""Queries whose exact answers are known: the live recall of a served revision is measured with them.

Rule: an answer is a list of product rows, never of similarities, so that an index is judged by what it returns and not
by what it says about that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """N queries float32 [N,D], L2-normalised, and the `k` products nearest to each.

    `answers` int32 [N,A] are rows of products: the `k` nearest ones, then those that are as near as the last of them
    and may stand for it, then -1 as filler.
    """

    queries: NDArray[np.float32]
    answers: NDArray[np.int32]
    k: int

    def __len__(self) -> int:
        return len(self.queries)

    def recall(self, places: Sequence[int], found: Sequence[Sequence[int]]) -> float:
        """The share of right products, 0..1, in `found`: the rows that a search returned for the probes `places`."""
        right = [
            len(set(rows[: self.k]).intersection(self.answers[place].tolist()))
            for place, rows in zip(places, found, strict=True)
        ]
        return sum(right) / (len(right) * self.k)


NO_PROBES = Probes(np.empty((0, 0), np.float32), np.empty((0, 0), np.int32), 1)
"""The probes of a revision whose recall cannot be measured."""
