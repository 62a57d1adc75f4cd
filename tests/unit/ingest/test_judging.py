"""Fitting a verdict: right where first products lead, calibrated, and kept only where it may be believed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.domain.items import MatchLevel, Neighbour, Reason, ReasonKind
from sightline_server.domain.verdict import LEAST_GROUPS
from sightline_server.domain.weights import NO_WEIGHTS, Weights
from sightline_server.ingest.adapting.comparing import Evidence
from sightline_server.ingest.adapting.judging import Cases, Judging, cases_of, fit_logistic, judge
from sightline_server.settings import RankingSettings
from sightline_server.stages.rank import rank

PRODUCTS = 40
GROUPS = np.arange(PRODUCTS)
WEIGHTS = Weights(0.2, 0.0, full_inliers=40)


def photographed(photos: int = 400, *, lead: float = 0.2, share: float = 0.6, seed: int = 1) -> Evidence:
    """Photos of which a `share` is clear: their product has points in common and a similarity that leads."""
    chance = np.random.default_rng(seed)
    products = np.array([chance.permutation(PRODUCTS)[:20] for _ in range(photos)], np.int32)
    places = chance.integers(0, 20, photos)
    shown = products[np.arange(photos), places]
    similarities = chance.normal(0.6, 0.05, (photos, 20))
    clear = chance.random(photos) < share
    similarities[np.arange(photos)[clear], places[clear]] += lead
    points = np.zeros((photos, 20), np.intp)
    points[np.arange(photos)[clear], places[clear]] = 30
    order = np.argsort(-similarities, axis=1, kind="stable")
    arranged: list[Any] = [np.take_along_axis(each, order, axis=1) for each in (products, similarities, points)]
    return Evidence(arranged[0], arranged[1], arranged[2], np.zeros((photos, 20)), shown)


def halves_of(evidence: Evidence) -> list[NDArray[np.intp]]:
    first = evidence.shown < PRODUCTS // 2
    return [np.flatnonzero(first), np.flatnonzero(~first)]


def judged(evidence: Evidence, groups: NDArray[np.intp] = GROUPS) -> Judging | None:
    return judge(evidence, groups, WEIGHTS, halves_of(evidence), compared=True)


@pytest.mark.parametrize("seed", range(3))
def test_clear_photos_are_called_the_same_item_and_others_are_not(seed: int) -> None:
    found = judged(photographed(seed=seed))
    assert found is not None
    said = found.said()
    assert found.is_kept
    assert said["said"] == pytest.approx(0.6, abs=0.1)
    assert said["right"] > 0.9
    assert said["said_hidden"] < 0.05
    assert found.ece < 0.05
    stored = found.stored({"photos": 400})
    assert stored is not None
    assert (stored.facts["photos"], stored.facts["ece"]) == (400, round(found.ece, 4))
    assert (stored.verdict.neighbours, stored.verdict.with_points) == (20, True)


def test_photos_that_do_not_stand_out_give_no_verdict_that_is_kept() -> None:
    found = judged(photographed(share=0.0))
    assert found is None or not found.is_kept
    assert found is None or found.stored({}) is None


def test_labels_that_mean_nothing_give_none() -> None:
    evidence = photographed()
    mixed = replace(evidence, shown=np.random.default_rng(2).permutation(evidence.shown))
    found = judged(mixed)
    assert found is None or not found.is_kept


def test_too_few_cases_give_none() -> None:
    assert judged(photographed(20)) is None
    assert judged(photographed(share=1.0, lead=2.0).take(np.arange(15))) is None


def test_each_photo_is_a_case_with_its_item_and_one_with_its_group_hidden() -> None:
    evidence = photographed(10, share=1.0, lead=1.0)
    pairs = GROUPS // 2
    found = cases_of(evidence, pairs, WEIGHTS)
    assert len(found.right) == 20
    assert found.right[~found.hidden].all()
    assert not found.right[found.hidden].any()
    few = replace(evidence, products=np.where(np.arange(20) < LEAST_GROUPS, evidence.products, -1).astype(np.int32))
    assert len(cases_of(few, GROUPS, WEIGHTS).right) < 20, "with the item hidden too few groups are left"


def test_a_fact_that_never_changes_has_no_factor() -> None:
    evidence = replace(photographed(), points=np.zeros((400, 20), np.intp))
    found = judge(evidence, GROUPS, NO_WEIGHTS, halves_of(evidence), compared=False)
    assert found is not None
    assert found.verdict.points == 0
    assert not found.verdict.with_points


def test_the_regression_finds_what_was_planted() -> None:
    chance = np.random.default_rng(4)
    prominences = chance.normal(0.5, 0.2, (20000, 4))
    planted = np.array([-4.0, 2.0, 5.0, 0.0, 3.0])
    right = chance.random(20000) < 1 / (1 + np.exp(-(planted[0] + prominences @ planted[1:])))
    cases = Cases(prominences, right, np.zeros(20000, bool), np.arange(20000))
    assert fit_logistic(cases) == pytest.approx(planted, abs=0.4)


def test_cases_that_can_be_told_apart_do_not_end_the_fit() -> None:
    prominences = np.concatenate([np.full((30, 4), 0.9), np.full((30, 4), 0.1)])
    cases = Cases(prominences, np.arange(60) < 30, np.zeros(60, bool), np.arange(60))
    assert np.isfinite(fit_logistic(cases)).all()


def test_the_error_of_calibration_is_the_distance_from_the_share_that_is_right() -> None:
    cases = Cases(np.zeros((4, 4)), np.array([True, False, False, False]), np.zeros(4, bool), np.arange(4))
    found = judged(photographed())
    assert found is not None
    assert Judging(found.verdict, np.full(4, 0.75), cases).ece == pytest.approx(0.5)
    assert Judging(found.verdict, np.array([0.95, 0.05, 0.05, 0.05]), cases).ece == pytest.approx(0.05)
    assert Judging(found.verdict, np.full(4, 0.5), cases).said() == {"said": 0.0, "right": 0.0, "said_hidden": 0.0}


def test_a_search_judges_as_the_fit_did() -> None:
    evidence = photographed(60)
    found = judged(photographed())
    assert found is not None
    cases = cases_of(evidence, GROUPS, WEIGHTS)
    for place in range(60):
        neighbours = [
            Neighbour(int(product), int(product), float(similarity), f"p{product:02}", "", "", int(product))
            for product, similarity in zip(evidence.products[place], evidence.similarities[place], strict=True)
        ]
        further = {
            f"p{product:02}": (Reason(ReasonKind.LOCAL_FEATURES, WEIGHTS.of_points(int(points)), ""),)
            for product, points in zip(evidence.products[place], evidence.points[place], strict=True)
            if points
        }
        ranked = rank(
            neighbours,
            "",
            limit=1,
            min_similarity=0.0,
            settings=RankingSettings(),
            further=further,
            verdict=found.verdict,
        )
        prominence = cases.prominences[(cases.photos == place) & ~cases.hidden][0]
        factors = (found.verdict.score, found.verdict.lead, found.verdict.margin, found.verdict.points)
        exponent = found.verdict.bias + float(prominence @ np.array(factors))
        assert (ranked[0].level is MatchLevel.SAME_ITEM) == (1 / (1 + np.exp(-exponent)) >= 0.8)


@pytest.mark.parametrize(("count", "kept"), [(9, False), (10, True)])
def test_a_verdict_that_is_hardly_ever_given_is_not_kept(count: int, kept: bool) -> None:
    found = judged(photographed())
    assert found is not None
    chances = np.where(np.arange(100) < count, 0.95, 0.05)
    cases = Cases(np.zeros((100, 4)), np.arange(100) < count, np.zeros(100, bool), np.arange(100))
    assert Judging(found.verdict, chances, cases).is_kept is kept
