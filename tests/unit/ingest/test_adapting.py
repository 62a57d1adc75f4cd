"""Fitting an adapter: what it brings on photos that it has not seen, and that new products lose nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adapter import Adapter
from sightline_server.ingest.adapting import head
from sightline_server.ingest.adapting.candidate import Grounds, scale_of
from sightline_server.ingest.adapting.choosing import Choice, choose
from sightline_server.ingest.adapting.fitting import Method, ShopPhotos, fit
from sightline_server.ingest.adapting.gain import Hits, compared
from sightline_server.ingest.adapting.images import ShopImages
from sightline_server.ingest.adapting.labels import labelled_photos, photos_in
from sightline_server.ingest.adapting.nearness import nearest_products
from sightline_server.ingest.adapting.splits import folds_of, halves_of, product_folds, product_halves, repeats_for
from tests.support.catalogs import write_picture
from tests.support.shop_photos import PhotographedShop, first_products, photographed_shop

SHOP = photographed_shop()
OVERFITTED: dict[str, Any] = {"noise": 0.0, "small": 1.8, "apart": 1.0, "each": 8}
"""A shop whose photos have nothing in common but their mean, so that a head learns only the products that it sees."""


def hit_rate(photos: ShopPhotos, images: ShopImages, adapter: Adapter | None = None) -> float:
    assert photos.products is not None
    return float((first_products(photos.embeddings, images, adapter) == photos.products).mean())


def chosen(photos: ShopPhotos, images: ShopImages) -> Choice:
    return choose(photos, images, about={"fitted_at": "today"}, tick=lambda: None)


def halves(shop: PhotographedShop) -> tuple[ShopPhotos, ShopPhotos]:
    photos = shop.shop_photos(labelled=True)
    seen, held = halves_of(photos, 3)
    return photos.take(seen), photos.take(held)


@pytest.mark.parametrize("seed", range(3))
def test_means_and_hubness_of_unlabelled_photos_bring_right_answers(seed: int) -> None:
    shop = photographed_shop(seed=seed)
    seen, held = halves(shop)
    adapter = fit(replace_products(seen), shop.shop_images(), Method.CENTRED)
    assert hit_rate(held, shop.shop_images(), adapter) > hit_rate(held, shop.shop_images())


def replace_products(photos: ShopPhotos) -> ShopPhotos:
    return ShopPhotos(photos.embeddings)


@pytest.mark.parametrize("seed", range(3))
def test_a_head_brings_more_right_answers_than_means_and_hubness(seed: int) -> None:
    shop = photographed_shop(seed=seed)
    seen, held = halves(shop)
    images = shop.shop_images()
    rates = [hit_rate(held, images, fit(seen, images, method)) for method in (Method.CENTRED, Method.HEAD)]
    assert rates[1] > rates[0] + 0.1


def trap(seed: int, *, later: bool = False) -> tuple[float, float, float]:
    """hit@1 of products that no photo showed: without an adapter, with a head alone, and with a head and hubness.

    With `later`, they were not even in the catalog when the adapter was fitted.
    """
    rates = []
    for number in range(4):
        shop = photographed_shop(seed=10 * seed + number, **OVERFITTED)
        images = shop.shop_images()
        there = ShopImages(images.stored[:30], images.owners[:30]) if later else images
        adapter = fit(shop.shop_photos(labelled=True, products=range(30)), there, Method.HEAD)
        new = shop.shop_photos(labelled=True, products=range(30, 60))
        ways = (None, replace(adapter, beta=0.0), adapter)
        rates.append([hit_rate(new, images, way) for way in ways])
    without, alone, whole = np.mean(rates, axis=0)
    return float(without), float(alone), float(whole)


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_a_head_without_hubness_harms_new_products_and_with_it_does_not(seed: int, later: bool) -> None:
    without, alone, whole = trap(seed, later=later)
    assert alone < without - 0.02
    assert whole >= without - 0.02
    assert whole > alone + 0.05


def test_a_head_that_harms_new_products_is_not_kept() -> None:
    shop = photographed_shop(noise=0.0, small=1.8, apart=0.1, each=8)
    found = chosen(shop.shop_photos(labelled=True), shop.shop_images())
    of_head = next(each for each in found.tried if each.method is Method.HEAD)
    assert of_head.new is not None
    assert of_head.new.is_loss
    assert of_head.grounds is Grounds.LOSS
    assert found.chosen is None or found.chosen.method is Method.CENTRED


def test_the_best_candidate_is_fitted_on_all_photos() -> None:
    found = chosen(SHOP.shop_photos(labelled=True), SHOP.shop_images())
    assert found.chosen is not None
    assert found.adapter is not None
    assert found.chosen.method is Method.HEAD
    assert found.adapter.facts["photos"] == 240
    assert found.adapter.facts["fitted_at"] == "today"
    rates = found.adapter.facts["hit@1"]
    assert rates["after"] > rates["before"]
    assert found.chosen.held.paired is not None
    assert len(found.chosen.held.paired) == 240


@pytest.mark.parametrize("seed", range(4))
def test_one_photo_a_product_gives_a_head_for_each_draw(seed: int) -> None:
    shop = photographed_shop(each=4, seed=seed)
    places = drawn(shop, seed)
    found = chosen(ShopPhotos(shop.photos[places], shop.shown[places]), shop.shop_images())
    assert [each.held.seen for each in found.tried] == [0.0, 0.0]
    assert found.chosen is not None
    assert found.chosen.method is Method.HEAD
    assert found.chosen.grounds in (Grounds.GAIN, Grounds.ASSUMED)
    assert found.adapter is not None
    others = ShopPhotos(np.delete(shop.photos, places, axis=0), np.delete(shop.shown, places))
    assert hit_rate(others, shop.shop_images(), found.adapter) > hit_rate(others, shop.shop_images()) + 0.1


def drawn(shop: PhotographedShop, seed: int) -> Any:
    """One photo of each product, by chance."""
    each = len(shop.shown) // len(shop.images)
    return np.arange(0, len(shop.shown), each) + np.random.default_rng(seed).integers(0, each, len(shop.images))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("each", [1, 2])
def test_labels_exchanged_among_products_are_refused_for_each_draw(seed: int, each: int) -> None:
    shop = photographed_shop(each=each, seed=seed)
    exchanged = np.random.default_rng(seed).permutation(60).astype(np.int32)
    found = chosen(ShopPhotos(shop.photos, exchanged[shop.shown]), shop.shop_images())
    assert (found.adapter, found.chosen, found.tried) == (None, None, ())
    assert found.labels is not None
    assert not found.labels_fit


def test_the_same_photos_give_the_same_adapter() -> None:
    first, again = (chosen(SHOP.shop_photos(labelled=True), SHOP.shop_images()).adapter for _ in range(2))
    assert first is not None
    assert again is not None
    assert np.array_equal(first.of_queries(SHOP.photos), again.of_queries(SHOP.photos))


def test_without_labels_an_adapter_is_kept_where_more_products_come_first() -> None:
    found = chosen(SHOP.shop_photos(labelled=False), SHOP.shop_images())
    assert found.adapter is not None
    assert "hit@1" not in found.adapter.facts
    assert all(after.same < before.same for before, after in found.tried[0].held.spreads)


def test_labels_that_mean_nothing_give_no_adapter() -> None:
    shuffled = np.random.default_rng(5).permutation(SHOP.shown)
    found = chosen(ShopPhotos(SHOP.photos, shuffled), SHOP.shop_images())
    assert found.adapter is None
    assert found.chosen is None
    assert not found.labels_fit


def test_similarities_keep_their_scale() -> None:
    photos, images = SHOP.shop_photos(labelled=False), SHOP.shop_images()
    adapter = chosen(photos, images).adapter
    assert adapter is not None
    before = np.median(nearest_products(photos.embeddings, images, 1).similarities)
    after = np.median(nearest_products(photos.embeddings, images, 1, adapter).similarities)
    assert after == pytest.approx(before, abs=0.05)


@pytest.mark.parametrize(
    ("before", "after", "scale"),
    [(0.7, 0.4, 0.5), (0.7, 0.7, 1.0), (0.2, 0.9, 2.0), (0.999, 0.1, 0.1), (0.5, 1.0, 2.0)],
)
def test_the_scale_brings_the_median_back(before: float, after: float, scale: float) -> None:
    assert scale_of(before, after) == pytest.approx(scale)


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        (ShopPhotos(SHOP.photos[:99]), "99 photos without labels that can be used, and at least 100"),
        (ShopPhotos(SHOP.photos[:39], SHOP.shown[:39]), "39 labelled photos that can be used, and at least 40"),
        (ShopPhotos(SHOP.photos[:36], SHOP.shown[:36]), "9 products with labelled photos, and at least 10"),
    ],
)
def test_too_few_photos_are_refused(photos: ShopPhotos, message: str) -> None:
    with pytest.raises(SightlineError, match=message) as refused:
        chosen(photos, SHOP.shop_images())
    assert refused.value.kind is ErrorKind.CONFIGURATION


def test_objects_of_one_photo_are_in_one_half_and_count_once() -> None:
    sources = np.arange(240) // 3
    photos = ShopPhotos(SHOP.photos, None, sources)
    first, second = halves_of(photos, 1)
    assert len(set(sources[first])) == len(set(sources[second])) == 40
    assert set(sources[first]).isdisjoint(sources[second])
    assert (photos.photos, photos.take(first).photos) == (80, 40)
    with pytest.raises(SightlineError, match="80 photos without labels"):
        chosen(photos, SHOP.shop_images())


def test_both_halves_have_photos_of_a_product_and_product_halves_have_not() -> None:
    photos = SHOP.shop_photos(labelled=True)
    first, second = halves_of(photos, 1)
    assert len(first) == len(second) == 120
    assert set(SHOP.shown[first]) == set(SHOP.shown[second])
    assert sorted([*first, *second]) == list(range(240))
    first, second = product_halves(photos, 1)
    assert set(SHOP.shown[first]).isdisjoint(SHOP.shown[second])
    assert sorted([*first, *second]) == list(range(240))


def test_folds_have_photos_of_a_product_as_evenly_as_they_can_and_product_folds_all_of_them() -> None:
    photos = SHOP.shop_photos(labelled=True)
    folds = folds_of(photos, 1, 5)
    assert [len(fold) for fold in folds] == [48] * 5
    assert sorted(np.concatenate(folds)) == list(range(240))
    assert all(np.unique(SHOP.shown[fold], return_counts=True)[1].max() == 1 for fold in folds)
    folds = product_folds(photos, 1, 5)
    assert sorted(np.concatenate(folds)) == list(range(240))
    assert [len(np.unique(SHOP.shown[fold])) for fold in folds] == [12] * 5


def test_products_with_one_photo_are_in_other_folds_with_another_seed() -> None:
    once = ShopPhotos(SHOP.photos[::4], SHOP.shown[::4])
    first, other = ({tuple(fold) for fold in folds_of(once, seed, 5)} for seed in (1, 2))
    assert first.isdisjoint(other)
    assert first == {tuple(fold) for fold in folds_of(once, 1, 5)}


@pytest.mark.parametrize(("photos", "images", "repeats"), [(80, 81, 4), (160, 81, 2), (800, 81, 1), (80, 150_000, 1)])
def test_splits_are_repeated_more_often_where_there_are_few_photos(photos: int, images: int, repeats: int) -> None:
    shop = ShopImages(np.zeros((images, 1), np.float16), np.arange(images, dtype=np.int32))
    assert repeats_for(ShopPhotos(np.zeros((photos, 1), np.float32)), shop) == repeats


@pytest.mark.parametrize(
    ("gained", "lost", "is_gain"), [(0, 0, False), (4, 0, False), (5, 0, True), (30, 20, False), (40, 20, True)]
)
def test_a_gain_is_more_than_chance(gained: int, lost: int, is_gain: bool) -> None:
    assert Hits(100, 50, 50 + gained - lost, gained, lost).is_gain == is_gain


def test_answers_are_compared_photo_by_photo() -> None:
    hits = compared(np.array([True, True, False, False]), np.array([True, False, True, True]))
    assert hits == Hits(4, 2, 3, 2, 1)
    assert hits.rates() == {"before": 0.5, "after": 0.75}


def test_the_gradients_are_those_of_the_loss() -> None:
    chance = np.random.default_rng(0)
    photos, images = chance.standard_normal((5, 6)), chance.standard_normal((4, 6))
    ways = [chance.standard_normal((6, 3)), chance.standard_normal((6, 3))]
    shown, left_out = np.array([0, 1, 2, 3, 1]), np.zeros((5, 4), bool)
    left_out[0, 2] = True

    def loss(matrices: Any) -> float:
        points, targets = (
            flat / np.linalg.norm(flat, axis=1, keepdims=True) for flat in (photos @ matrices[0], images @ matrices[1])
        )
        scores = points @ targets.T / head.TEMPERATURE
        scores[left_out] = -np.inf
        return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(5), shown]))

    found = head.gradients(photos, images, ways, shown, left_out)  # type: ignore[arg-type]
    for way, slopes in enumerate(found):
        for place in [(0, 0), (3, 1), (5, 2)]:
            moved = [[each.copy() for each in ways] for _ in range(2)]
            moved[0][way][place] += 1e-5
            moved[1][way][place] -= 1e-5
            assert slopes[place] == pytest.approx((loss(moved[0]) - loss(moved[1])) / 2e-5, abs=2e-4)


def test_a_sample_of_images_has_those_that_the_photos_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "MOST_IMAGES", 20)
    monkeypatch.setattr(head, "BATCH", 8)
    seen, held = halves(SHOP)
    images = SHOP.shop_images()
    assert hit_rate(held, images, fit(seen, images, Method.HEAD)) > hit_rate(held, images) + 0.1


def test_a_product_with_several_images_is_shown_by_its_nearest_one() -> None:
    images = ShopImages(
        np.concatenate([SHOP.images, -SHOP.images]).astype(np.float16), np.tile(np.arange(60, dtype=np.int32), 2)
    )
    seen, held = halves(SHOP)
    assert hit_rate(held, images, fit(seen, images, Method.HEAD)) > hit_rate(held, images) + 0.1


def test_an_interrupted_training_ends() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose(SHOP.shop_photos(labelled=True), SHOP.shop_images(), about={}, tick=interrupted)


def test_a_folder_gives_its_photos_and_those_below_it(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.png", "deep/c.png", ".hidden/d.png", ".e.png"):
        write_picture(tmp_path / name, 5)
    (tmp_path / "notes.txt").write_text("no photo")
    assert [each.path.name for each in photos_in(tmp_path)] == ["a.png", "b.PNG", "c.png"]


def test_a_large_folder_is_sampled_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline_server.ingest.adapting.labels.MOST_PHOTOS", 4)
    for number in range(10):
        (tmp_path / f"{number}.jpg").touch()
    assert [each.path.name for each in photos_in(tmp_path)] == ["0.jpg", "3.jpg", "6.jpg", "9.jpg"]


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match="there are no photos in"):
        photos_in(tmp_path)
    with pytest.raises(SightlineError, match="there is no folder"):
        photos_in(tmp_path / "none")


def labels(tmp_path: Path, text: str) -> Any:
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name, 5)
    (tmp_path / "labels.csv").write_text(text, "utf-8")
    return labelled_photos(tmp_path / "labels.csv", {"p1": 0, "p2": 7})


def test_a_table_names_products_and_boxes(tmp_path: Path) -> None:
    found = labels(tmp_path, '\ufeffImage,product_id,box\na.png,p2,\nb.png,p1,"0.1,0.2,0.5,0.75"\n')
    assert [(each.path.name, each.product) for each in found] == [("a.png", 7), ("b.png", 0)]
    assert found[0].box is None
    assert found[1].box is not None
    assert found[1].box.y_max == 0.75


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,product\na.png,p1\n", "no column product_id"),
        ("image,product_id\na.png,\n", "line 2: image and product_id must be filled"),
        ("image,product_id\na.png,p9\nb.png,p8\n", "2 product ids are not in the catalog: p9, p8"),
        ("image,product_id\nc.png,p1\n", "1 images of .*labels.csv are missing: .*c.png"),
        (f"image,product_id\n{'a' * 300},p1\n", "1 images of .*labels.csv are missing: .*aaa"),
        ('image,product_id,box\na.png,p1,"0,0,2,1"\n', "line 2: box '0,0,2,1' is not x0,y0,x1,y1"),
        ('image,product_id,box\na.png,p1,"nan,0,1,1"\n', "is not x0,y0,x1,y1"),
        ("image,product_id\n", "has no rows"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SightlineError, match=message) as refused:
        labels(tmp_path, text)
    assert refused.value.kind is ErrorKind.CONFIGURATION
