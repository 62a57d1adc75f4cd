"""The weights and the verdict that `sightline adapt --labels` fits for the ranking of a catalog.

Rule: the photos that the adapter is fitted from are compared with the products near them, as a search would do it. They
are described by their local features for as long as the command runs, where the catalog keeps those of its images.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sightline_console.terminal import echo

if TYPE_CHECKING:
    from sightline_server.app.shop_photos import EmbeddedPhotos
    from sightline_server.domain.verdict import FittedVerdict
    from sightline_server.domain.weights import FittedWeights, Weights
    from sightline_server.index.opened_catalog import Catalog
    from sightline_server.ingest.adapting.choosing import Choice
    from sightline_server.ingest.adapting.comparing import Evidence
    from sightline_server.ingest.adapting.fitting import ShopPhotos
    from sightline_server.ingest.adapting.judging import Judging
    from sightline_server.ingest.adapting.weighing import Weighing
    from sightline_server.ports import ImageFeatures

MOST_DESCRIBED = 2000
"""Photos that are described by local features, 51 KB of memory each; more do not make better weights."""
NO_FEATURES = (
    "the catalog keeps no local features, so no weights of ranking are fitted; sightline catalog upsert FEED --catalog "
    "DIR --local-features keeps them"
)


@dataclass(frozen=True, slots=True)
class RankingFit:
    """The weights and the verdict that were fitted; None for what the photos show too little for."""

    weighing: "Weighing | None" = None
    judging: "Judging | None" = None

    def weights(self, about: dict[str, Any]) -> "FittedWeights | None":
        """The weights to store, with the facts `about` the fit; None where they are not kept."""
        return None if self.weighing is None else self.weighing.stored(about)

    def verdict(self, about: dict[str, Any]) -> "FittedVerdict | None":
        """The verdict to store, with the facts `about` the fit; None where it is not kept."""
        return None if self.judging is None else self.judging.stored(about)


def kept_features(path: Path, *, labelled: bool) -> "ImageFeatures | None":
    """The local features of the catalog at `path`, where labels allow weights to be fitted."""
    from sightline_server.index.served_features import served_features

    return served_features(path) if labelled else None


def described_photos(count: int) -> frozenset[int]:
    """The numbers of the photos, of `count`, that are described: all, or an even sample."""
    places = np.linspace(0, count - 1, min(count, MOST_DESCRIBED), dtype=np.int64)
    return frozenset(int(place) for place in places)


def fitted_ranking(
    catalog: "Catalog",
    kept: "ImageFeatures | None",
    photos: "ShopPhotos",
    embedded: "EmbeddedPhotos",
    choice: "Choice",
    before: "Weights",
    most_products: int,
) -> RankingFit:
    """The weights and the verdict of `catalog` by photos whose products are known.

    Each photo is compared with at most `most_products`. `kept` are the local features of the catalog's images; without
    them no weights are fitted. `before` are the weights that the catalog has now.
    """
    from sightline_server.domain.weights import NO_WEIGHTS
    from sightline_server.ingest.adapting.choosing import SEED
    from sightline_server.ingest.adapting.judging import judge
    from sightline_server.ingest.adapting.splits import product_halves
    from sightline_server.ingest.adapting.weighing import weigh

    if kept is None:
        places = np.arange(len(photos))
    else:
        places = np.array([place for place, each in enumerate(embedded.described) if each is not None], np.intp)
    evidence = evidence_of(catalog, kept, photos, embedded, places, choice, min(most_products, len(catalog.display)))
    halves = product_halves(photos.take(places), SEED)
    weighing = None if kept is None else weigh(evidence, before, halves)
    weights = NO_WEIGHTS if kept is None else before
    if weighing is not None and weighing.is_kept:
        weights = weighing.fitted
    return RankingFit(weighing, judge(evidence, item_groups(catalog), weights, halves, compared=kept is not None))


def evidence_of(
    catalog: "Catalog",
    kept: "ImageFeatures | None",
    photos: "ShopPhotos",
    embedded: "EmbeddedPhotos",
    places: NDArray[np.intp],
    choice: "Choice",
    count: int,
) -> "Evidence":
    """The comparison of the photos with the numbers `places` and the `count` products nearest to each."""
    from sightline_server.ingest.adapting.comparing import StoredImages, compared, not_compared
    from sightline_server.ingest.adapting.held_out import held_out
    from sightline_server.ingest.adapting.images import ShopImages

    assert photos.products is not None
    images, shown = ShopImages(catalog.vectors, catalog.owners), photos.products[places]
    near = held_out(photos, images, choice.chosen, count, nothing).take(places)
    if kept is None:
        return not_compared(near, shown)
    echo(f"measuring weights: {len(places)} photos are compared with the {count} products nearest to each", err=True)
    stored = StoredImages(kept, catalog.display["id"], catalog.image_links)
    described = [each for each in embedded.described if each is not None]
    return compared(described, near, shown, stored, nothing)


def item_groups(catalog: "Catalog") -> NDArray[np.intp]:
    """The number of the item group of each product; a product without one is its own."""
    ids, groups = (catalog.display[name].to_pylist() for name in ("id", "item_group_id"))
    names = [(1, group) if group else (0, product_id) for product_id, group in zip(ids, groups, strict=True)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.intp)


def nothing() -> None:
    """Nothing to do between two steps."""
