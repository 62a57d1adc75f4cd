"""One more reason for some products: it moves them, is listed, and changes neither level nor threshold."""

import pytest

from sightline_server.domain.items import MatchLevel, Neighbour, Reason, ReasonKind
from sightline_server.settings import RankingSettings
from sightline_server.stages.rank import rank

SETTINGS = RankingSettings()
PRINT = Reason(ReasonKind.LOCAL_FEATURES, 0.2, "34 points of its image are on the object as well")


def near(product_id: str, similarity: float) -> Neighbour:
    return Neighbour(0, 0, similarity, product_id, "Chairs", "", 0)


def test_a_further_reason_moves_its_product_and_sums_to_the_score() -> None:
    found = [near("a", 0.7), near("b", 0.55)]
    ranked = rank(found, "", limit=2, min_similarity=0.0, settings=SETTINGS, further={"b": [PRINT]})
    assert [each.neighbour.product_id for each in ranked] == ["b", "a"]
    assert [reason.kind for reason in ranked[0].reasons] == [ReasonKind.VISUAL_SIMILARITY, ReasonKind.LOCAL_FEATURES]
    assert ranked[0].score == pytest.approx(0.75)
    assert ranked[0].level is MatchLevel.WEAK, "the level is that of the similarity"
    assert [reason.kind for reason in ranked[1].reasons] == [ReasonKind.VISUAL_SIMILARITY]


def test_several_further_reasons_are_counted_and_listed() -> None:
    plain = Reason(ReasonKind.COLOUR, -0.05, "its colours are 40% like those of the object; the average is 60%")
    ranked = rank([near("a", 0.5)], "", limit=2, min_similarity=0.0, settings=SETTINGS, further={"a": [PRINT, plain]})
    assert ranked[0].score == pytest.approx(0.65)
    assert [(reason.kind, reason.text) for reason in ranked[0].reasons[1:]] == [
        (ReasonKind.LOCAL_FEATURES, PRINT.text),
        (ReasonKind.COLOUR, plain.text),
    ]


def test_a_further_reason_lifts_no_product_over_the_threshold() -> None:
    ranked = rank([near("a", 0.5)], "", limit=2, min_similarity=0.6, settings=SETTINGS, further={"a": [PRINT]})
    assert ranked == ()
