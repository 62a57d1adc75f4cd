"""A catalog's verdict: the first product alone may be the same item, by how far it leads the others."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.domain.items import MatchLevel, Neighbour, RankedNeighbour, Reason, ReasonKind
from sightline_server.domain.verdict import NO_CLAIM, Prominence, Verdict, VerdictError, prominence_of
from sightline_server.settings import RankingSettings
from sightline_server.stages.rank import FurtherReasons, rank

CLEAR_LEAD = Verdict(-5.0, 0.0, 100.0, 0.0, 0.0, neighbours=20, with_points=False)
"""The same item from a lead of 0.064 on."""
POINTS = Reason(ReasonKind.LOCAL_FEATURES, 0.15, "34 points of its image are on the object as well")
NUMBERS = st.floats(-2, 2)


def near(number: int, similarity: float, group: int | None = None) -> Neighbour:
    return Neighbour(number, number, similarity, f"p{number:02}", "", "", number if group is None else group)


def neighbours(*leaders: float, others: int = 12) -> list[Neighbour]:
    found = [near(number, similarity) for number, similarity in enumerate(leaders)]
    return [*found, *(near(len(found) + number, 0.5) for number in range(others))]


def ranked(
    found: list[Neighbour],
    verdict: Verdict | None = CLEAR_LEAD,
    further: FurtherReasons | None = None,
    coded: tuple[Neighbour, ...] = (),
    limit: int = 5,
) -> tuple[RankedNeighbour, ...]:
    settings = RankingSettings(same_item=0.55)
    return rank(
        found,
        "",
        limit=limit,
        min_similarity=0.0,
        settings=settings,
        verdict=verdict,
        further=further or {},
        coded=coded,
    )


def levels(found: tuple[RankedNeighbour, ...]) -> list[MatchLevel]:
    return [each.level for each in found]


def test_a_product_that_stands_out_is_the_same_item_and_no_other() -> None:
    found = ranked(neighbours(0.95, 0.7))
    assert levels(found)[:3] == [MatchLevel.SAME_ITEM, MatchLevel.SIMILAR, MatchLevel.WEAK]


def test_with_a_verdict_no_similarity_is_enough() -> None:
    alike = [near(number, 0.99) for number in range(12)]
    assert set(levels(ranked(alike))) == {MatchLevel.SIMILAR}
    assert set(levels(ranked(alike, verdict=None))) == {MatchLevel.SAME_ITEM}
    assert MatchLevel.SAME_ITEM not in levels(ranked(neighbours(0.95), NO_CLAIM))


def test_points_in_common_make_a_product_stand_out() -> None:
    found = neighbours(0.52, 0.51)
    assert levels(ranked(found))[0] is MatchLevel.WEAK
    lifted = ranked(found, further={"p01": (POINTS,)})
    assert (lifted[0].neighbour.product_id, lifted[0].level) == ("p01", MatchLevel.SAME_ITEM)


def test_variants_of_the_first_product_do_not_count_as_others() -> None:
    variants = [near(number, 0.9, group=1) for number in range(4)]
    found = [*variants, *(near(number, 0.5) for number in range(10, 22))]
    assert levels(ranked(found))[:2] == [MatchLevel.SAME_ITEM, MatchLevel.SIMILAR]


def test_few_other_products_say_nothing() -> None:
    assert MatchLevel.SAME_ITEM not in levels(ranked(neighbours(0.95, others=4)))
    assert levels(ranked(neighbours(0.95, others=5)))[0] is MatchLevel.SAME_ITEM


def test_only_the_neighbours_that_the_fit_saw_are_judged() -> None:
    few = Verdict(-5.0, 0.0, 100.0, 0.0, 0.0, neighbours=6, with_points=False)
    found = [*neighbours(0.95, others=5), *(near(20 + number, 0.94) for number in range(10))]
    found.sort(key=lambda each: each.product_id)
    assert levels(ranked(found, few))[0] is MatchLevel.SAME_ITEM
    assert levels(ranked(found))[0] is MatchLevel.SIMILAR
    far = [*neighbours(0.6, others=5), near(30, 0.5)]
    assert MatchLevel.SAME_ITEM not in levels(ranked(far, few, further={"p30": (POINTS,) * 2}))[:1]


def test_a_code_decides_before_any_verdict() -> None:
    coded = (near(40, 0.0),)
    found = ranked(neighbours(0.95), coded=coded)
    assert levels(found)[:2] == [MatchLevel.SAME_ITEM, MatchLevel.SIMILAR]
    assert found[0].neighbour.product_id == "p40"


def test_a_limit_of_one_changes_no_level() -> None:
    assert levels(ranked(neighbours(0.95), limit=1)) == [MatchLevel.SAME_ITEM]


def test_a_prominence_is_a_lead_over_the_best_of_ten_other_groups() -> None:
    scores = [0.9, 0.8, 0.7, *[0.5] * 9, 0.1]
    groups = [0, 1, 1, *range(2, 11), 11]
    found = prominence_of(scores, groups, 0, 0.15)
    assert found is not None
    assert found.facts() == pytest.approx((0.9, 0.9 - (0.8 + 9 * 0.5) / 10, 0.1, 0.15))


@given(st.lists(st.tuples(NUMBERS, st.integers(0, 9)), min_size=1, max_size=30), st.randoms())
def test_the_order_of_neighbours_does_not_matter(pairs: list[tuple[float, int]], chance: object) -> None:
    order = list(range(len(pairs)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    one = prominence_of([pair[0] for pair in pairs], [pair[1] for pair in pairs], 0, 0.0)
    other = prominence_of([pairs[n][0] for n in order], [pairs[n][1] for n in order], order.index(0), 0.0)
    assert one == other
    assert one is None or len({group for _, group in pairs}) > 5


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_a_chance_lies_between_0_and_1_and_survives_its_own_facts(
    bias: float, one: float, two: float, lead: float
) -> None:
    verdict = Verdict(1e4 * bias, 1e4 * one, two, 0.0, 1.0, neighbours=20, with_points=True)
    assert 0.0 <= verdict.chance(Prominence(lead, lead, lead, 0.0)) <= 1.0
    assert Verdict.parse(json.loads(json.dumps(verdict.facts()))) == verdict


@pytest.mark.parametrize(
    "changes",
    [
        {"bias": math.nan},
        {"bias": "1"},
        {"lead": None},
        {"neighbours": 0},
        {"neighbours": 1.5},
        {"with_points": 1},
        {"further": 1.0},
    ],
)
def test_facts_that_are_no_verdict_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(VerdictError):
        Verdict.parse(CLEAR_LEAD.facts() | changes)
    with pytest.raises(VerdictError):
        Verdict.parse([])
