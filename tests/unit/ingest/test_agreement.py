"""Labels that fit their photos, and labels that are mixed up."""

import numpy as np
import pytest

from sightline_server.ingest.adapting import agreement
from sightline_server.ingest.adapting.agreement import LEVEL, chance_of_labels
from sightline_server.ingest.adapting.fitting import ShopPhotos
from sightline_server.ingest.adapting.images import ShopImages
from tests.support.shop_photos import photographed_shop


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("each", [1, 3])
def test_labels_fit_their_photos_for_each_draw(seed: int, each: int) -> None:
    shop = photographed_shop(each=each, seed=seed)
    assert chance_of_labels(shop.shop_photos(labelled=True), shop.shop_images(), 1) <= LEVEL


@pytest.mark.parametrize("each", [1, 3])
def test_mixed_up_labels_do_not_fit(each: int) -> None:
    shop = photographed_shop(each=each)
    chances = []
    for seed in range(40):
        exchanged = np.random.default_rng(seed).permutation(60).astype(np.int32)
        chances.append(chance_of_labels(ShopPhotos(shop.photos, exchanged[shop.shown]), shop.shop_images(), 1))
    assert np.mean(np.array(chances) <= LEVEL) <= 0.05
    assert 0.3 < np.mean(chances) < 0.7


def test_a_product_is_as_near_as_its_closest_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "PART", 7)
    shop = photographed_shop(each=1)
    stored = np.concatenate([-shop.images, shop.images]).astype(np.float16)
    images = ShopImages(stored, np.tile(np.arange(60, dtype=np.int32), 2))
    assert chance_of_labels(shop.shop_photos(labelled=True), images, 1) <= LEVEL


def test_some_wrong_labels_do_no_harm() -> None:
    shop = photographed_shop(each=1)
    shown = shop.shown.copy()
    shown[:15] = np.roll(shown[:15], 1)
    assert chance_of_labels(ShopPhotos(shop.photos, shown), shop.shop_images(), 1) <= LEVEL
