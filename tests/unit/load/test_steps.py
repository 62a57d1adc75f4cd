"""Ranks without the reasons of a step, from answers that have them."""

from typing import cast

from load_tests.steps import STEPS, TINY, Asked, hit_rates, report
from sightline_client.answers import Answer, AnsweredObject
from sightline_client.events import DetectedObject, MatchLevel, Product, RankedProduct, Reason, ReasonKind


def ranked(name: str, similarity: float, **reasons: float) -> RankedProduct:
    found = tuple(Reason(ReasonKind[kind], contribution, "") for kind, contribution in reasons.items())
    return RankedProduct(Product(name), similarity, 0.0, 1, "", MatchLevel.SIMILAR, found)


def asked(product_id: str, *products: RankedProduct) -> Asked:
    found = AnsweredObject(cast(DetectedObject, None), products)
    return Asked(product_id, "Fruit", Answer("", (found,), None))


def test_each_way_to_rank_counts_its_reasons_only() -> None:
    photo = asked("b", ranked("a", 0.8), ranked("b", 0.7, LOCAL_FEATURES=0.05, COLOUR=0.1 * TINY))
    ranks = [photo.rank(counted, {ReasonKind.COLOUR: 1 / TINY}) for counted in STEPS.values()]
    assert ranks == [2, 2, 1]
    assert asked("c", ranked("a", 0.8)).rank(frozenset(), {}) is None


def test_a_photo_that_is_refused_is_a_miss() -> None:
    found = report([asked("a", ranked("a", 0.8)), asked("a")], 0.1)
    assert found["similarity"]["all"]["hit@1"] == 0.5
    assert found["similarity"]["answered"]["hit@1"] == 1.0
    assert found["similarity"]["Fruit"] == hit_rates([1, None])
