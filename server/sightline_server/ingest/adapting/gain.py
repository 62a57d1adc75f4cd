"""The gain that an adapter brings to photos that it was not fitted from.

    photos -> folds -> fitted on all but one, measured on that one, for each of them
    the same with folds of products: products that no photo shows
Rule: a gain is real where chance explains it in at most one of twenty cases. Without known products right answers
cannot be counted, and what is measured then is whether a few products come first for too many photos.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.adapter import Adapter
from sightline_server.ingest.adapting.fitting import ShopPhotos
from sightline_server.ingest.adapting.images import ShopImages
from sightline_server.ingest.adapting.nearness import Near, nearest_products
from sightline_server.ingest.adapting.paired import FIRST, Paired
from sightline_server.ingest.adapting.splits import Places

DEVIATIONS = 1.645
"""Standard deviations that a normal variable exceeds in 5 % of the cases."""

Fit = Callable[[ShopPhotos], Adapter]


@dataclass(frozen=True, slots=True)
class Hits:
    """The photos, of `count`, that have the right product first, `before` and `after`, and those that changed."""

    count: int
    before: int
    after: int
    gained: int
    lost: int

    @property
    def is_gain(self) -> bool:
        """True if more were gained than lost, as rarely happens if both are equally likely.

        The sign test, by the normal distribution with the correction for whole numbers.
        """
        return self.gained - self.lost - 1 > DEVIATIONS * math.sqrt(self.gained + self.lost)

    def rates(self) -> dict[str, float]:
        """hit@1 before and after."""
        return {"before": round(self.before / self.count, 4), "after": round(self.after / self.count, 4)}


@dataclass(frozen=True, slots=True)
class Spread:
    """The number of products that come first, and the chance that two photos have the same one first."""

    products: int
    same: float


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """The measurements on photos that the adapters had not seen.

    `paired` where products are known; `spreads` of each fold of the first split, before and after; the median of the
    first similarities; the share of photos whose product the fit has `seen`.
    """

    paired: Paired | None
    spreads: tuple[tuple[Spread, Spread], ...]
    medians: tuple[float, float]
    seen: float = 0.0

    @property
    def is_more_even(self) -> bool:
        """True if in all folds fewer photos share a first product."""
        return all(after.same < before.same for before, after in self.spreads)


def measured(photos: ShopPhotos, images: ShopImages, splits: Sequence[Sequence[Places]], fit: Fit) -> Held:
    """Adapters that `fit` makes of all photos but those of one fold, measured on these, for each fold of `splits`."""
    before = nearest_products(photos.embeddings, images, FIRST)
    after = [held_out(photos, images, folds, fit) for folds in splits]
    spreads = [tuple(spread_of(near.products[fold, 0]) for near in (before, after[0])) for fold in splits[0]]
    medians = (
        float(np.median(before.similarities[:, 0])),
        float(np.median(np.stack([near.similarities[:, 0] for near in after]))),
    )
    paired, seen = None, 0.0
    if photos.products is not None:
        ranks = np.stack([ranks_of(near, photos.products) for near in after])
        paired = Paired(ranks_of(before, photos.products), ranks, photos.products)
        seen = seen_share(photos.products, splits[0])
    return Held(paired, tuple((was, now) for was, now in spreads), medians, seen)


def held_out(photos: ShopPhotos, images: ShopImages, folds: Sequence[Places], fit: Fit) -> Near:
    """The products nearest to each of `photos`, by the adapter that `fit` makes of the other folds."""
    found = Near.of_nothing(len(photos), FIRST)
    for fold in folds:
        others = np.setdiff1d(np.arange(len(photos)), fold)
        adapter = fit(photos.take(others))
        found.put(fold, nearest_products(photos.embeddings[fold], images, FIRST, adapter))
    return found


def ranks_of(near: Near, shown: NDArray[np.int32]) -> NDArray[np.int64]:
    """The ranks int64 [N] of the products `shown` [N]; 0 for one that is not among those near the photo."""
    right = near.products == shown[:, np.newaxis]
    return np.where(right.any(axis=1), right.argmax(axis=1) + 1, 0)


def seen_share(products: NDArray[np.int32], folds: Sequence[Places]) -> float:
    """The share of photos whose product is in another fold as well."""
    seen = [np.isin(products[fold], np.delete(products, fold)) for fold in folds]
    return float(np.concatenate(seen).mean())


def compared(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Hits:
    """The comparison of two answers to the same photos, each right or wrong."""
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return Hits(len(before), int(before.sum()), int(after.sum()), gained, lost)


def spread_of(products: NDArray[np.int32]) -> Spread:
    """The spread of first products."""
    counts = np.unique(products, return_counts=True)[1]
    count = len(products)
    return Spread(len(counts), float((counts * (counts - 1)).sum() / max(1, count * (count - 1))))
