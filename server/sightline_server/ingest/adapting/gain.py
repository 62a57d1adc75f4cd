"""The gain that an adapter brings to photos that it was not fitted from.

    photos -> two halves -> fitted on one, measured on the other, and the other way round
    photos of half of the products -> measured on those of the other half: products that no photo shows
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
from sightline_server.ingest.adapting.images import ShopImages, first_products

DEVIATIONS = 1.645
"""Standard deviations that a normal variable exceeds in 5 % of the cases."""

Places = NDArray[np.intp]
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

    @property
    def is_loss(self) -> bool:
        """True if more were lost than gained, by more than a standard deviation: for a loss a doubt is enough."""
        return self.lost - self.gained > math.sqrt(self.lost + self.gained)

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

    `hits` where products are known; `spreads` of each half, before and after; the median of the first similarities;
    the share of photos whose product the fit has `seen`.
    """

    hits: Hits | None
    spreads: tuple[tuple[Spread, Spread], ...]
    medians: tuple[float, float]
    seen: float = 0.0

    @property
    def is_more_even(self) -> bool:
        """True if in both halves fewer photos share a first product."""
        return all(after.same < before.same for before, after in self.spreads)


def measured(photos: ShopPhotos, images: ShopImages, halves: Sequence[Places], fit: Fit) -> Held:
    """Adapters that `fit` makes of each of two `halves`, measured on the other one."""
    plain, adapted, known, spreads = [], [], [], []
    for seen, held in (halves, halves[::-1]):
        part = photos.take(held)
        before = first_products(part.embeddings, images)
        after = first_products(part.embeddings, images, fit(photos.take(seen)))
        spreads.append((spread_of(before.products), spread_of(after.products)))
        plain.append(before)
        adapted.append(after)
        known.append(part.products)
    medians = tuple(
        float(np.median(np.concatenate([each.similarities for each in found]))) for found in (plain, adapted)
    )
    hits, share = None, 0.0
    if photos.products is not None:
        first, second = (photos.products[half] for half in halves)
        share = float(np.concatenate([np.isin(first, second), np.isin(second, first)]).mean())
        truth = np.concatenate([each for each in known if each is not None])
        hits = compared(
            np.concatenate([each.products for each in plain]) == truth,
            np.concatenate([each.products for each in adapted]) == truth,
        )
    return Held(hits, tuple(spreads), (medians[0], medians[1]), share)


def compared(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Hits:
    """The comparison of two answers to the same photos, each right or wrong."""
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return Hits(len(before), int(before.sum()), int(after.sum()), gained, lost)


def spread_of(products: NDArray[np.int32]) -> Spread:
    """The spread of first products."""
    counts = np.unique(products, return_counts=True)[1]
    count = len(products)
    return Spread(len(counts), float((counts * (counts - 1)).sum() / max(1, count * (count - 1))))


def halves_of(photos: ShopPhotos, seed: int) -> tuple[Places, Places]:
    """Two halves of the objects at random; the photos of a product are in both where it has more than one.

    Objects of one photo without labels are in one half.
    """
    chance = np.random.default_rng(seed)
    if photos.products is None and photos.sources is not None:
        drawn = chance.permutation(np.unique(photos.sources))
        first = np.isin(photos.sources, drawn[: len(drawn) // 2])
        return np.flatnonzero(first), np.flatnonzero(~first)
    order = chance.permutation(len(photos))
    if photos.products is not None:
        # Dealt out product by product, so that each half gets every second photo of it.
        order = order[np.argsort(photos.products[order], kind="stable")]
    return np.sort(order[::2]), np.sort(order[1::2])


def product_halves(photos: ShopPhotos, seed: int) -> tuple[Places, Places]:
    """The photos of one half of the products, and those of the other half."""
    assert photos.products is not None
    products = np.random.default_rng(seed).permutation(np.unique(photos.products))
    first = np.isin(photos.products, products[: len(products) // 2])
    return np.flatnonzero(first), np.flatnonzero(~first)
