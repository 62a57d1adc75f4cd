"""Fitting weights of ranking: what is planted is found, and nothing is kept without a real gain."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline_server.domain.local_features import LocalFeatures, no_features
from sightline_server.domain.weights import MOST, NO_WEIGHTS, Scale, Weights
from sightline_server.ingest.adapting.choosing import choose
from sightline_server.ingest.adapting.comparing import Evidence, StoredImages, compared
from sightline_server.ingest.adapting.fitting import Method
from sightline_server.ingest.adapting.held_out import held_out
from sightline_server.ingest.adapting.images import ShopImages
from sightline_server.ingest.adapting.nearness import NOTHING, Near, nearest_products
from sightline_server.ingest.adapting.weighing import Loss, fit_weights, has_right, right_answers, weigh
from tests.support.shop_photos import first_products, photographed_shop

SHOP = photographed_shop()
WEAK = Weights(0.02, 0.0, 0.05, full_inliers=40)
"""Weights before a fit."""
PLANTED = np.array([30.0, 9.0, 3.0])
"""Factors of similarity, points and colours in a softmax of which products are drawn: weights 0.3 and 0.1."""


def planted(
    photos: int = 400, products: int = 40, count: int = 12, *, seed: int = 1, factors: NDArray[np.float64] = PLANTED
) -> Evidence:
    """Photos that show one of the products compared, drawn by a softmax of the planted factors."""
    chance = np.random.default_rng(seed)
    near = np.array([chance.permutation(products)[:count] for _ in range(photos)], np.int32)
    similarities = np.sort(chance.normal(0.7, 0.06, (photos, count)), axis=1)[:, ::-1].copy()
    points = np.where(chance.random((photos, count)) < 0.3, chance.integers(8, 60, (photos, count)), 0)
    colours = chance.normal(0, 0.2, (photos, count))
    shares = np.array([WEAK.point_share(each) for each in range(61)])
    scores = np.stack([similarities, shares[points], colours], axis=-1) @ factors
    chosen = (scores + chance.gumbel(size=scores.shape)).argmax(axis=1)
    return Evidence(near, similarities, points, colours, near[np.arange(photos), chosen])


def rearranged(evidence: Evidence, places: NDArray[np.intp]) -> Evidence:
    """The products of each photo in the order `places` [N,K]."""
    arrays: list[Any] = [evidence.products, evidence.similarities, evidence.points, evidence.colours]
    products, similarities, points, colours = (np.take_along_axis(each, places, axis=1) for each in arrays)
    return Evidence(products, similarities, points, colours, evidence.shown)


def halves_of(evidence: Evidence) -> list[NDArray[np.intp]]:
    first = evidence.shown < 20
    return [np.flatnonzero(first), np.flatnonzero(~first)]


@pytest.mark.parametrize("seed", range(3))
def test_planted_weights_are_found(seed: int) -> None:
    found = fit_weights(planted(4000, seed=seed), WEAK)
    assert found.local_features == pytest.approx(0.3, abs=0.03)
    assert found.colours == pytest.approx(0.1, abs=0.03)
    assert (found.printed_text, found.full_inliers, found.scale) == (0.05, 40, Scale.LINEAR)


def test_a_weight_that_brings_nothing_becomes_nothing() -> None:
    harmful = planted(2000, factors=np.array([30.0, -9.0, 3.0]))
    found = fit_weights(harmful, replace(WEAK, local_features=0.3))
    assert found.local_features == 0
    assert found.colours == pytest.approx(0.1, abs=0.04)


def test_weights_stay_within_their_bounds() -> None:
    found = fit_weights(planted(2000, factors=np.array([5.0, 40.0, 30.0])), WEAK)
    assert (found.local_features, found.colours) == (MOST["local_features"], MOST["colours"])


def test_similarities_that_say_nothing_leave_the_weights_as_they_were() -> None:
    assert fit_weights(planted(2000, factors=np.array([-5.0, 5.0, 0.0])), WEAK) == WEAK


def test_without_a_photo_that_has_its_product_among_those_compared_nothing_changes() -> None:
    evidence = planted(30)
    lost = replace(evidence, shown=np.full(30, 1000, np.int32))
    assert not has_right(lost).any()
    assert fit_weights(lost, WEAK) == WEAK
    assert weigh(lost, WEAK, halves_of(lost)) is None
    assert not right_answers(lost, WEAK).any()


def test_photos_that_are_all_answered_right_do_not_end_the_fit() -> None:
    evidence = planted(100)
    perfect = replace(evidence, shown=evidence.products[:, 0].copy())
    perfect.similarities[:, 0] += 1
    found = fit_weights(perfect, WEAK)
    assert right_answers(perfect, found).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_photos_and_products_does_not_matter(seed: int) -> None:
    evidence, chance = planted(60, seed=7), np.random.default_rng(seed)
    photos = chance.permutation(60)
    places = np.array([chance.permutation(12) for _ in range(60)])
    moved = rearranged(evidence.take(photos), places)
    found, expected = fit_weights(moved, WEAK), fit_weights(evidence, WEAK)
    # Sums of numbers in another order differ in their last digit.
    assert found.local_features == pytest.approx(expected.local_features, abs=2e-4)
    assert found.colours == pytest.approx(expected.colours, abs=2e-4)
    assert np.array_equal(right_answers(moved, WEAK), right_answers(evidence, WEAK)[photos])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_without_weights_the_order_is_that_of_similarities(seed: int) -> None:
    evidence = planted(50, seed=seed)
    assert np.array_equal(right_answers(evidence, NO_WEIGHTS), evidence.products[:, 0] == evidence.shown)


def test_of_equal_scores_the_first_product_comes_first() -> None:
    products = np.array([[7, 3, 5], [7, 3, 5], [4, NOTHING, NOTHING]], np.int32)
    none = np.zeros((3, 3))
    evidence = Evidence(products, none, none.astype(np.intp), none, np.array([3, 7, 4], np.int32))
    assert right_answers(evidence, WEAK).tolist() == [True, False, True]


def test_weights_are_measured_on_products_that_they_were_not_fitted_from() -> None:
    evidence = planted(600)
    weighing = weigh(evidence, WEAK, halves_of(evidence))
    assert weighing is not None
    assert weighing.is_kept
    assert weighing.hits.after > weighing.hits.before + 20
    stored = weighing.stored({"photos": 600})
    assert stored is not None
    assert stored.weights == weighing.fitted == fit_weights(evidence, WEAK)
    assert stored.facts["photos"] == 600
    assert stored.facts["weights"]["local_features"]["before"] == 0.02


def test_weights_that_are_right_already_are_not_replaced() -> None:
    evidence = planted(600)
    weighing = weigh(evidence, replace(WEAK, local_features=0.3, colours=0.1), halves_of(evidence))
    assert weighing is not None
    assert not weighing.is_kept
    assert weighing.stored({}) is None


def test_labels_that_mean_nothing_give_no_weights() -> None:
    evidence = planted(600)
    mixed = replace(evidence, shown=np.random.default_rng(3).permutation(evidence.shown))
    weighing = weigh(mixed, WEAK, halves_of(mixed))
    assert weighing is None or not weighing.is_kept


def test_few_products_give_no_weights() -> None:
    evidence = planted(300)
    few = evidence.take(np.flatnonzero(evidence.shown < 9))
    assert weigh(few, WEAK, halves_of(few)) is None


def test_the_slopes_are_those_of_the_loss() -> None:
    chance = np.random.default_rng(0)
    facts, there = chance.normal(size=(6, 4, 3)), np.ones((6, 4), bool)
    there[0, 3] = False
    loss = Loss(facts, there, np.array([0, 1, 2, 3, 0, 1]), np.array([0.2, 0.1]))
    factors = np.array([3.0, 1.0, 0.5])
    _, slopes, curvatures = loss.at(factors)
    for place in range(3):
        step = np.zeros(3)
        step[place] = 1e-5
        after, before = loss.at(factors + step), loss.at(factors - step)
        assert slopes[place] == pytest.approx((after[0] - before[0]) / 2e-5, abs=1e-4)
        assert curvatures[place] == pytest.approx((after[1] - before[1]) / 2e-5, abs=1e-4)


def by_reading(photos: NDArray[np.float32], images: ShopImages, count: int) -> list[list[tuple[int, int]]]:
    """The nearest products with their closest images, one after the other."""
    similarities = photos @ images.vectors(slice(None)).T
    found = []
    for row in similarities:
        best: dict[int, int] = {}
        for image in np.argsort(-row, kind="stable"):
            best.setdefault(int(images.owners[image]), int(image))
        found.append([*best.items()][:count])
    return found


@pytest.mark.parametrize("part", [7, 8192])
def test_the_nearest_products_are_those_of_an_exact_search(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline_server.ingest.adapting.images.PART_ROWS", part)
    stored = np.concatenate([SHOP.images, SHOP.images[::-1] + 0.3 * SHOP.looks]).astype(np.float16)
    images = ShopImages(stored, np.sort(np.tile(np.arange(60, dtype=np.int32), 2)))
    near = nearest_products(SHOP.photos[:30], images, 5)
    for place, right in enumerate(by_reading(SHOP.photos[:30], images, 5)):
        assert [*zip(near.products[place], near.images[place], strict=True)] == right
        assert (np.diff(near.similarities[place]) <= 0).all()


def test_a_catalog_with_fewer_products_has_places_for_nothing() -> None:
    images = ShopImages(SHOP.images[:3].astype(np.float16), np.arange(3, dtype=np.int32))
    near = nearest_products(SHOP.photos[:2], images, 5)
    assert (near.products[:, 3:] == NOTHING).all()
    assert sorted(near.products[0, :3]) == [0, 1, 2]


def test_an_adapter_is_not_asked_about_photos_that_it_was_fitted_from() -> None:
    photos, images = SHOP.shop_photos(labelled=True), SHOP.shop_images()
    choice = choose(photos, images, about={}, tick=lambda: None)
    assert choice.chosen is not None and choice.adapter is not None
    assert choice.chosen.method is Method.HEAD
    near = held_out(photos, images, choice.chosen, 5, lambda: None)
    hits = float((near.products[:, 0] == photos.products).mean())
    assert choice.chosen.held.paired is not None
    assert hits == pytest.approx(choice.chosen.held.paired.hits[1], abs=0.12), "fitted on halves, not on four fifths"
    seen = first_products(photos.embeddings, images, choice.adapter) == photos.products
    assert hits < float(seen.mean()), "the adapter of all photos knows them"
    plain = held_out(photos, images, None, 5, lambda: None)
    assert np.array_equal(plain.products[:, 0], first_products(photos.embeddings, images))


class Kept:
    """`ports.ImageFeatures` of products whose ids are in `known`."""

    def __init__(self, known: dict[str, LocalFeatures]) -> None:
        self._known = known

    def of(self, images: Any) -> list[LocalFeatures | None]:
        return [self._known.get(product_id) if link == f"{product_id}.jpg" else None for product_id, link in images]


def coloured(level: int) -> LocalFeatures:
    colours = np.zeros(384, np.uint8)
    colours[level] = 255
    return replace(no_features(), colours=colours)


def test_the_evidence_is_that_of_a_search() -> None:
    import pyarrow as pa

    ids = pa.array(["a", "b", "c"], pa.large_string())
    links = pa.array(["a.jpg", "b.jpg", "c.jpg"], pa.large_string())
    kept = Kept({"a": coloured(1), "b": coloured(2)})
    near = Near(
        np.array([[1, 0, 2, NOTHING]], np.int32),
        np.array([[1, 0, 2, NOTHING]], np.int64),
        np.array([[0.9, 0.8, 0.7, 0.0]], np.float32),
    )
    ticks: list[None] = []
    shown = np.array([0], np.int32)
    found = compared([coloured(1)], near, shown, StoredImages(kept, ids, links), lambda: ticks.append(None))
    assert found.colours.tolist() == [[-0.5, 0.5, 0.0, 0.0]]
    assert found.points.tolist() == [[0, 0, 0, 0]]
    assert len(ticks) == len(found) == 1
    assert right_answers(found, Weights(0, 0.3)).tolist() == [True]
    assert right_answers(found, NO_WEIGHTS).tolist() == [False]
