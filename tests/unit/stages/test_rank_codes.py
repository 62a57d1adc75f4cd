"""Products whose code is on an object: first, the same item, with a reason, whatever they look like."""

import pytest

from sightline_server.domain.items import MatchLevel, Neighbour, ReasonKind
from sightline_server.settings import RankingSettings
from sightline_server.stages.rank import rank

SETTINGS = RankingSettings(category_bonus=0.5, unavailable_penalty=0.5)


def near(product_id: str, similarity: float, *, group: int = 0, availability: str = "") -> Neighbour:
    return Neighbour(0, 0, similarity, product_id, "Chairs", availability, group)


def test_the_worst_match_with_the_code_comes_before_the_best_one_without() -> None:
    exact = near("z", -1.0, availability="out_of_stock")
    ranked = rank(
        [near("a", 1.0), near("b", 0.9)], "chair", limit=2, min_similarity=0.0, settings=SETTINGS, coded=[exact]
    )
    assert [each.neighbour.product_id for each in ranked] == ["z", "a"]
    assert [each.rank for each in ranked] == [1, 2]
    assert [each.level for each in ranked] == [MatchLevel.SAME_ITEM, MatchLevel.SIMILAR]
    assert ranked[0].reasons[0].kind is ReasonKind.CODE
    assert ranked[0].score == pytest.approx(sum(reason.contribution for reason in ranked[0].reasons))
    assert all(reason.kind is not ReasonKind.CODE for reason in ranked[1].reasons)


def test_a_product_that_is_near_too_is_shown_once_and_passes_the_threshold() -> None:
    ranked = rank([near("z", 0.1)], "", limit=5, min_similarity=0.9, settings=SETTINGS, coded=[near("z", 0.1)] * 2)
    assert [each.neighbour.product_id for each in ranked] == ["z"]
    assert ranked[0].level is MatchLevel.SAME_ITEM


def test_the_variant_with_the_code_is_the_one_of_its_group() -> None:
    neighbours = [near("red", 0.9, group=1), near("other", 0.5, group=2)]
    exact = [near("blue", 0.2, group=1)]
    ranked = rank(neighbours, "", limit=5, min_similarity=0.0, settings=SETTINGS, one_per_group=True, coded=exact)
    assert [each.neighbour.product_id for each in ranked] == ["blue", "other"]


def test_what_was_not_compared_has_no_similarity_as_a_reason() -> None:
    ranked = rank(
        (), "", limit=1, min_similarity=0.5, settings=SETTINGS, coded=[near("b", 0.0), near("a", 0.0)], compared=False
    )
    assert [each.neighbour.product_id for each in ranked] == ["a"]
    assert [reason.kind for reason in ranked[0].reasons] == [ReasonKind.CODE]
