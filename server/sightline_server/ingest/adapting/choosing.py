"""The adapter of a catalog, chosen among candidates by what they bring, and fitted on all photos.

Rule: an adapter is returned only with a real gain on photos that it was not fitted from, and only where products that
no photo shows lose nothing. Labels that fit the photos no better than labels by chance are not fitted at all.
Similarities keep their scale: 1 stays the highest, and the median of the first similarities of the photos is what it
was, so that thresholds go on to mean what they meant.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adapter import Adapter
from sightline_server.ingest.adapting.agreement import LEVEL, chance_of_labels
from sightline_server.ingest.adapting.candidate import Candidate, Grounds, scale_of
from sightline_server.ingest.adapting.fitting import Method, ShopPhotos, fit
from sightline_server.ingest.adapting.gain import measured
from sightline_server.ingest.adapting.head import Tick
from sightline_server.ingest.adapting.images import ShopImages
from sightline_server.ingest.adapting.splits import FOLDS, folds_of, halves_of, product_folds, repeats_for

LEAST_UNLABELLED = 100
LEAST_LABELLED = 40
LEAST_PRODUCTS = 10
SEED = 20

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The adapter, None where no candidate brings anything, and all that were tried.

    `labels` is the chance that labels by chance fit the photos as well; None without labels. Where it is too high,
    nothing was tried.
    """

    adapter: Adapter | None
    chosen: Candidate | None
    tried: tuple[Candidate, ...]
    labels: float | None = None

    @property
    def labels_fit(self) -> bool:
        """False where labels fit the photos no better than labels by chance."""
        return self.labels is None or self.labels <= LEVEL


def choose(
    photos: ShopPhotos, images: ShopImages, *, about: Mapping[str, Any], say: Say = lambda text: None, tick: Tick
) -> Choice:
    """The adapter of `images` by `photos`, with `about` among its facts. `say` gets a line about each step.

    Raises `SightlineError` of kind CONFIGURATION for too few photos, and what `tick` raises.
    """
    require_enough(photos)
    labels = None if photos.products is None else chance_of_labels(photos, images, SEED)
    if labels is not None and labels > LEVEL:
        return Choice(None, None, (), labels)
    tried = tuple(tries(photos, images, say, tick))
    chosen = best_of(tried)
    if chosen is None:
        return Choice(None, None, tried, labels)
    say(f"fitting on all {photos.photos} photos")
    adapter = fit(photos, images, chosen.method, seed=SEED, tick=tick)
    scale = scale_of(*chosen.held.medians)
    facts = {**adapter.facts, **about, **chosen.facts()}
    return Choice(replace(adapter, scale=scale, facts=facts), chosen, tried, labels)


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
    if photos.products is None:
        say("measuring centred: fitted on one half of the photos, measured on the other, both ways")
        by = partial(fit, images=images, method=Method.CENTRED, seed=SEED, tick=tick)
        yield Candidate(Method.CENTRED, measured(photos, images, [halves_of(photos, SEED)], by))
        return
    seeds = range(SEED, SEED + repeats_for(photos, images))
    uncovered = 1 - len(np.unique(photos.products)) / len(np.unique(images.owners))
    centring = False
    for method in (Method.CENTRED, Method.HEAD):
        by = partial(fit, images=images, method=method, seed=SEED, tick=tick)
        say(
            f"measuring {method.value}: fitted on {FOLDS - 1} of {FOLDS} parts of the photos, measured on the other one"
        )
        held = measured(photos, images, [folds_of(photos, seed, FOLDS) for seed in seeds], by)
        new = held.paired
        if held.seen > 0:
            say(f"measuring {method.value}: fitted on {FOLDS - 1} of {FOLDS} parts of the products")
            new = measured(photos, images, [product_folds(photos, seed, FOLDS) for seed in seeds], by).paired
        candidate = Candidate(method, held, new, centring, uncovered)
        centring = candidate.grounds is Grounds.GAIN
        yield candidate


def best_of(tried: Sequence[Candidate]) -> Candidate | None:
    """The candidate that is kept with the most right answers on held-out photos; None where none is kept.

    A head is preferred where those do not show what it brings, and where it is as good as centring.
    """
    kept = [each for each in tried if each.is_kept]
    if not kept:
        return None
    head = next((each for each in kept if each.method is Method.HEAD), None)
    other = next((each for each in kept if each.method is not Method.HEAD), None)
    if head is None or other is None:
        return kept[0]
    if not head.is_shown:
        return head
    assert head.held.paired is not None
    assert other.held.paired is not None
    behind, count = other.held.paired.hits[1] - head.held.paired.hits[1], len(head.held.paired)
    return other if behind * count > np.sqrt(count) / 2 else head
