"""The adapter of a catalog, chosen among candidates by what they bring, and fitted on all photos.

Rule: an adapter is returned only with a real gain on photos that it was not fitted from, and only where products that
no photo shows lose nothing. Similarities keep their scale: 1 stays the highest, and the median of the first
similarities of the photos is what it was, so that thresholds go on to mean what they meant.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adapter import Adapter
from sightline_server.ingest.adapting.fitting import Method, ShopPhotos, fit
from sightline_server.ingest.adapting.gain import Held, Hits, halves_of, measured, product_halves
from sightline_server.ingest.adapting.head import Tick
from sightline_server.ingest.adapting.images import ShopImages

LEAST_UNLABELLED = 100
LEAST_LABELLED = 40
LEAST_PRODUCTS = 10
LEAST_SEEN = 0.5
"""Share of held-out photos whose product the fit has to have seen, so that they show what a head brings."""
SCALES = (0.1, 2.0)
SEED = 20

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A way of fitting, and what it brings: on held-out photos, and on products whose photos were all held out.

    The gain is `assumed` where held-out photos cannot show it, because the fit has not seen their products.
    """

    method: Method
    held: Held
    new: Hits | None = None
    assumed: bool = False

    @property
    def is_kept(self) -> bool:
        """True if the gain is real, or assumed and nothing is lost, and new products lose nothing."""
        if self.held.hits is None:
            return self.held.is_more_even
        gains = not self.held.hits.is_loss if self.assumed else self.held.hits.is_gain
        return gains and not (self.new is not None and self.new.is_loss)

    def facts(self) -> dict[str, Any]:
        """The measurements, plain JSON."""
        found: dict[str, Any] = {"method": self.method.value, "kept": self.is_kept, "assumed": self.assumed}
        if self.held.hits is not None:
            found |= {"hit@1": self.held.hits.rates(), "measured": self.held.hits.count}
        if self.new is not None:
            found["new_products_hit@1"] = self.new.rates()
        befores, afters = zip(*self.held.spreads, strict=True)
        found["first_products"] = {
            "before": [each.products for each in befores],
            "after": [each.products for each in afters],
        }
        found["same_first"] = {
            "before": [round(each.same, 4) for each in befores],
            "after": [round(each.same, 4) for each in afters],
        }
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The adapter, None where no candidate brings anything, and all that were tried."""

    adapter: Adapter | None
    chosen: Candidate | None
    tried: tuple[Candidate, ...]


def choose(
    photos: ShopPhotos, images: ShopImages, *, about: Mapping[str, Any], say: Say = lambda text: None, tick: Tick
) -> Choice:
    """The adapter of `images` by `photos`, with `about` among its facts. `say` gets a line about each step.

    Raises `SightlineError` of kind CONFIGURATION for too few photos, and what `tick` raises.
    """
    require_enough(photos)
    tried = tuple(tries(photos, images, say, tick))
    chosen = best_of(tried)
    if chosen is None:
        return Choice(None, None, tried)
    say(f"fitting on all {photos.photos} photos")
    adapter = fit(photos, images, chosen.method, seed=SEED, tick=tick)
    scale = scale_of(*chosen.held.medians)
    return Choice(replace(adapter, scale=scale, facts={**adapter.facts, **about, **chosen.facts()}), chosen, tried)


def require_enough(photos: ShopPhotos) -> None:
    """Raises `SightlineError` of kind CONFIGURATION for too few photos."""
    if photos.products is None:
        found, least, what = photos.photos, LEAST_UNLABELLED, "photos without labels that can be used"
    else:
        products = len(np.unique(photos.products))
        if products < LEAST_PRODUCTS:
            found, least, what = products, LEAST_PRODUCTS, "products with labelled photos"
        else:
            found, least, what = len(photos), LEAST_LABELLED, "labelled photos that can be used"
    if found < least:
        message = f"there are {found} {what}, and at least {least} are needed; add more"
        raise SightlineError(ErrorKind.CONFIGURATION, message)


def tries(photos: ShopPhotos, images: ShopImages, say: Say, tick: Tick) -> Iterator[Candidate]:
    """Each candidate, measured.

    A head that has one photo of a product cannot be measured on products that it has seen. Its gain there is assumed
    where centring, which it begins with, has a real one.
    """
    centring = False
    methods = [Method.CENTRED] if photos.products is None else [Method.CENTRED, Method.HEAD]
    for method in methods:
        say(f"measuring {method.value}: fitted on one half of the photos, measured on the other, both ways")
        by = partial(fit, images=images, method=method, seed=SEED, tick=tick)
        held = measured(photos, images, halves_of(photos, SEED), by)
        new = None
        if photos.products is not None:
            say(f"measuring {method.value}: fitted on half of the products, measured on the others")
            new = measured(photos, images, product_halves(photos, SEED), by).hits
        assumed = method is Method.HEAD and held.seen < LEAST_SEEN and centring
        candidate = Candidate(method, held, new, assumed)
        centring = candidate.is_kept
        yield candidate


def best_of(tried: Sequence[Candidate]) -> Candidate | None:
    """The candidate that is kept with the most right answers on held-out photos; None where none is kept.

    A head is preferred where its gain is assumed, and where it is as good as centring.
    """
    kept = [each for each in tried if each.is_kept]
    if not kept:
        return None
    head = next((each for each in kept if each.method is Method.HEAD), None)
    other = next((each for each in kept if each.method is not Method.HEAD), None)
    if head is None or other is None:
        return kept[0]
    if head.assumed:
        return head
    assert head.held.hits is not None
    assert other.held.hits is not None
    behind, count = other.held.hits.after - head.held.hits.after, head.held.hits.count
    return other if behind > np.sqrt(count) / 2 else head


def scale_of(before: float, after: float) -> float:
    """The scale by which the median first similarity `after` becomes `before`, and 1 stays 1."""
    least, most = SCALES
    return float(np.clip((1.0 - before) / max(1.0 - after, 1e-6), least, most))
