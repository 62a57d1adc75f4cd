"""Ranking: reasons that sum to the score, a total order, thresholds that mean what they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_server.domain.items import MatchLevel, Neighbour, RankedNeighbour, ReasonKind
from sightline_server.settings import RankingSettings
from sightline_server.stages.rank import names_category, rank

SETTINGS = RankingSettings()


def near(
    product_id: str, similarity: float, *, category: str = "", availability: str = "", item_group_id: str = ""
) -> Neighbour:
    group = hash(("group", item_group_id) if item_group_id else ("product", product_id))
    return Neighbour(0, 0, similarity, product_id, category, availability, group)


def ranked(
    *neighbours: Neighbour,
    label: str = "chair",
    limit: int = 10,
    least: float = 0.0,
    settings: RankingSettings = SETTINGS,
    grouped: bool = False,
) -> tuple[RankedNeighbour, ...]:
    return rank(neighbours, label, limit=limit, min_similarity=least, settings=settings, one_per_group=grouped)


def ids(products: tuple[RankedNeighbour, ...]) -> list[str]:
    return [each.neighbour.product_id for each in products]


def test_nothing_near_is_nothing_ranked() -> None:
    assert ranked() == ()


def test_the_best_first_with_places_from_one() -> None:
    products = ranked(near("a", 0.2), near("b", 0.9), near("c", 0.5), limit=2)
    assert [(each.neighbour.product_id, each.rank) for each in products] == [
        ("b", 1),
        ("c", 2),
    ]


def test_equal_scores_are_ordered_by_id() -> None:
    assert ids(ranked(near("c", 0.5), near("a", 0.5), near("b", 0.5))) == ["a", "b", "c"]


def test_a_category_lifts_and_being_sold_out_lowers() -> None:
    plain, fitting = near("a", 0.50), near("b", 0.48, category="Furniture > Chairs")
    gone = near("c", 0.51, availability="out_of_stock")
    products = ranked(plain, fitting, gone)
    assert ids(products) == ["b", "a", "c"]
    assert [reason.kind for reason in products[0].reasons] == [ReasonKind.VISUAL_SIMILARITY, ReasonKind.CATEGORY_MATCH]
    assert [reason.kind for reason in products[2].reasons] == [ReasonKind.VISUAL_SIMILARITY, ReasonKind.UNAVAILABLE]
    assert all(reason.text for each in products for reason in each.reasons)


@pytest.mark.parametrize("word", ["out_of_stock", "Out of stock", "OUT_OF_STOCK"])
def test_every_spelling_of_sold_out(word: str) -> None:
    assert ranked(near("a", 0.5, availability=word))[0].score < 0.5


@pytest.mark.parametrize("word", ["in_stock", "preorder", "backorder", ""])
def test_what_can_be_bought_keeps_its_score(word: str) -> None:
    assert ranked(near("a", 0.5, availability=word))[0].score == 0.5


@pytest.mark.parametrize(
    ("label", "category", "expected"),
    [
        ("chair", "Furniture > Chairs", True),
        ("wine glass", "Kitchen > Glasses", True),
        ("wine glass", "Kitchen > Wine", False),
        ("sofa", "Furniture > Couches & Couch", True),
        ("pottedplant", "Garden > Plants", True),
        ("cup", "Kitchen > Mugs", True),
        ("chair", "Furniture > Armchair covers", False),
        ("vase", "", False),
        ("", "Furniture", False),
        ("...", "...", False),
    ],
)
def test_the_label_names_the_category(label: str, category: str, expected: bool) -> None:
    assert names_category(label, category) is expected


@pytest.mark.parametrize(
    ("similarity", "level"),
    [
        (1.0, MatchLevel.SAME_ITEM),
        (0.80, MatchLevel.SAME_ITEM),
        (0.799, MatchLevel.SIMILAR),
        (0.60, MatchLevel.SIMILAR),
        (0.599, MatchLevel.WEAK),
        (-1.0, MatchLevel.WEAK),
    ],
)
def test_levels_start_at_their_thresholds(similarity: float, level: MatchLevel) -> None:
    # The similarity decides, not the score that the bonus lifts.
    neighbours = [near("a", similarity, category="chairs")]
    settings = RankingSettings(same_item=0.8)
    found = rank(neighbours, "chair", limit=1, min_similarity=0.0, settings=settings)
    assert found[0].level is level
    by_default = rank(neighbours, "chair", limit=1, min_similarity=0.0, settings=RankingSettings())
    assert by_default[0].level is (MatchLevel.SIMILAR if level is MatchLevel.SAME_ITEM else level)


def test_the_threshold_is_the_higher_of_the_callers_and_the_servers() -> None:
    neighbours = [near("a", 0.9), near("b", 0.5), near("c", 0.2), near("d", -0.3)]
    assert ids(ranked(*neighbours)) == ["a", "b", "c", "d"]
    assert ids(ranked(*neighbours, least=0.5)) == ["a", "b"]
    strict = RankingSettings(min_similarity=0.6)
    assert ids(ranked(*neighbours, settings=strict)) == ["a"]
    assert ids(ranked(*neighbours, least=0.95, settings=strict)) == []


def test_the_threshold_is_of_similarity_and_not_of_the_score() -> None:
    assert ids(ranked(near("a", 0.49, category="chair"), least=0.5)) == []


def test_reasons_without_weight_are_not_given() -> None:
    silent = RankingSettings(category_bonus=0.0, unavailable_penalty=0.0)
    (only,) = ranked(near("a", 0.5, category="chair", availability="out_of_stock"), settings=silent)
    assert [reason.kind for reason in only.reasons] == [ReasonKind.VISUAL_SIMILARITY]


def test_of_each_group_the_best_by_score_is_shown() -> None:
    cups = [
        near("c1", 0.9, item_group_id="cup", availability="out_of_stock"),
        near("c2", 0.9, item_group_id="cup", availability="in_stock"),
        near("c3", 0.9, item_group_id="cup", availability="in_stock"),
        near("c4", 0.895, item_group_id="cup", category="Kitchen > Cups"),
    ]
    others = [
        near("a", 0.7),
        near("b", 0.6, item_group_id="bowl"),
        near("d", 0.5, item_group_id="bowl"),
        near("e", 0.4),
    ]
    assert ids(ranked(*cups[:3], *others, grouped=True)) == ["c2", "a", "b", "e"]
    assert [each.rank for each in ranked(*cups, *others, grouped=True)] == [1, 2, 3, 4]
    assert ids(ranked(*cups, label="cup", grouped=True)) == ["c4"], "the category lifts it above the other sizes"
    assert ids(ranked(*cups, *others, limit=2, grouped=True)) == ["c2", "a"]
    assert ids(ranked(*cups, *others, least=0.65, grouped=True)) == ["c2", "a"]
    assert len(ranked(*cups, *others)) == 8


def test_a_group_named_like_a_product_is_not_that_product() -> None:
    assert ids(ranked(near("cup", 0.9), near("x", 0.8, item_group_id="cup"), grouped=True)) == ["cup", "x"]


neighbours = st.lists(
    st.builds(
        near,
        st.text("abc", min_size=1, max_size=3),
        st.floats(-1, 1, width=32),
        category=st.sampled_from(["", "chairs", "vase"]),
        availability=st.sampled_from(["", "in_stock", "out_of_stock"]),
    ),
    unique_by=lambda each: each.product_id,
    max_size=12,
)


@given(neighbours, st.sampled_from(["", "chair", "vase"]), st.integers(1, 12), st.floats(0, 1))
def test_ranking_keeps_its_laws(found: list[Neighbour], label: str, limit: int, least: float) -> None:
    products = ranked(*found, label=label, limit=limit, least=least)
    assert products == ranked(*reversed(found), label=label, limit=limit, least=least), "input order does not matter"
    kept = [each for each in found if least <= 0.0 or each.similarity >= least]
    assert len(products) == min(limit, len(kept))
    assert [each.rank for each in products] == list(range(1, len(products) + 1))
    assert [(-each.score, each.neighbour.product_id) for each in products] == sorted(
        (-each.score, each.neighbour.product_id) for each in products
    )
    for each in products:
        assert sum(reason.contribution for reason in each.reasons) == pytest.approx(each.score, abs=1e-12)
        assert each.reasons[0].contribution == each.neighbour.similarity
