"""Ranks of the right products before and after, over repeated splits -> a real gain, a loss, or neither.

    rank of the right product -> 1 / log2(1 + rank) -> the difference of each photo, averaged over the repeats
        -> summed by product -> the chance that differences without a direction are as high
Rule: the photos of a product are one case, because what one of them gains the others gain as well. The answer depends
on the photos and hardly on the splits, because each photo counts once, by its mean over all of them.

The value of a rank is the discounted gain of one relevant document (Jaervelin and Kekaelaeinen, 2002): a product that
moves from the fifth rank to the second counts as well, so that fewer photos show a gain than by hit@1 alone.
The test is the randomization test of paired differences (Fisher, 1935; for rankings Smucker, Allan and Carterette,
2007), one-sided. Splits are repeated as Bouckaert and Frank (2004) propose, so that another draw of them decides the
same.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FIRST = 10
"""Ranks that count; a product behind them is not found."""
LEVEL = 0.05
"""Chance of a gain that is none."""
FLIPS = 9999
PART = 500
"""Flips that are made at a time."""
SEED = 20
TINY = 1e-9
"""Differences that come from rounding alone."""

Ranks = NDArray[np.int64]
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Paired:
    """The ranks of the right products of N photos: `before` [N], and `after` [R,N] in R repeats, none of them by an
    adapter that has seen the photo. 0 is a product that is not among the first `FIRST`. Photo n shows `products[n]`.
    """

    before: Ranks
    after: Ranks
    products: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.before)

    @property
    def hits(self) -> tuple[float, float]:
        """hit@1 before, and after in the mean of the repeats."""
        return float((self.before == 1).mean()), float((self.after == 1).mean())

    @cached_property
    def gains(self) -> Array:
        """The gain of each product, the sum of that of its photos, float64 [P]."""
        differences = value_of(self.after).mean(axis=0) - value_of(self.before)
        found: Array = np.bincount(np.unique(self.products, return_inverse=True)[1], differences).astype(np.float64)
        return found

    @cached_property
    def chance(self) -> float:
        """The share of random signs of `gains` with which they are as high in sum; at least 1 / (`FLIPS` + 1)."""
        signs, own = np.random.default_rng(SEED), float(self.gains.sum()) - TINY
        as_high = 0
        for start in range(0, FLIPS, PART):
            flips = signs.integers(0, 2, (min(PART, FLIPS - start), len(self.gains))) * 2 - 1
            as_high += int((flips @ self.gains >= own).sum())
        return (1 + as_high) / (1 + FLIPS)

    @property
    def is_gain(self) -> bool:
        """True if chance explains the gain in few cases only, and hit@1 does not fall."""
        before, after = self.hits
        return self.chance <= LEVEL and after >= before - TINY

    @property
    def is_loss(self) -> bool:
        """True if the sum of gains is negative by more than a standard deviation: for a loss a doubt is enough."""
        return float(self.gains.sum()) < -float(np.sqrt((self.gains**2).sum())) - TINY

    @property
    def is_fall(self) -> bool:
        """True if the sum of gains is negative, or hit@1 falls, by however little."""
        before, after = self.hits
        return float(self.gains.sum()) < -TINY or after < before - TINY

    def values(self) -> dict[str, float]:
        """The mean value of the ranks before and after (nDCG@10 of one right product), for a reader."""
        return {
            "before": round(float(value_of(self.before).mean()), 4),
            "after": round(float(value_of(self.after).mean()), 4),
        }

    def rates(self) -> dict[str, float]:
        """hit@1 before and after, for a reader."""
        before, after = self.hits
        return {"before": round(before, 4), "after": round(after, 4)}


def value_of(ranks: Ranks) -> Array:
    """The value of ranks, 1 for the first rank and 0 for a product that is not found, float64 of the same shape."""
    found: Array = np.where(ranks > 0, 1.0 / np.log2(1.0 + np.maximum(ranks, 1)), 0.0)
    return found
