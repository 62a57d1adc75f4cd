"""Ranks without the reasons of a step, from answers that have them."""

from pathlib import Path
from typing import cast

from load_tests.hit_rates.answers import Asked, line_of, read_answers
from load_tests.steps import READ_STEPS, STEPS, TINY, hit_rates, report, stage_times
from sightline_client.answers import Answer, AnsweredObject
from sightline_client.events import DetectedObject, MatchLevel, Product, RankedProduct, Reason, ReasonKind


def ranked(name: str, similarity: float, **reasons: float) -> RankedProduct:
    found = tuple(Reason(ReasonKind[kind], contribution, "") for kind, contribution in reasons.items())
    return RankedProduct(Product(name), similarity, 0.0, 1, "", MatchLevel.SIMILAR, found)


def asked(product_id: str, *products: RankedProduct) -> Asked:
    found = AnsweredObject(cast(DetectedObject, None), products)
    return Asked.of(f"{product_id}.jpg", product_id, "Fruit", Answer("", (found,), None))


def test_each_way_to_rank_counts_its_reasons_only() -> None:
    photo = asked(
        "b",
        ranked("a", 0.8),
        ranked("b", 0.5, LOCAL_FEATURES=0.15, PRINTED_TEXT=0.16, COLOUR=0.2 * TINY),
        ranked("c", 0.7, PRINTED_TEXT=0.05),
    )
    hits = report([photo], 1.0, {**STEPS, **READ_STEPS})
    firsts = {step: groups["all"]["hit@1"] for step, groups in hits.items()}
    assert firsts == {
        "similarity": 0.0,
        "local features": 0.0,
        "local features and colours": 1.0,
        "printed text": 0.0,
        "local features and printed text": 1.0,
        "local features, printed text and colours": 1.0,
    }
    assert photo.rank({}) == 3
    assert photo.rank({ReasonKind.PRINTED_TEXT: 2.0}) == 1
    assert asked("d", ranked("a", 0.8)).rank({}) is None


def test_a_photo_that_is_refused_is_a_miss() -> None:
    found = report([asked("a", ranked("a", 0.8)), asked("a")], 0.1)
    assert found["similarity"]["all"]["hit@1"] == 0.5
    assert found["similarity"]["answered"]["hit@1"] == 1.0
    assert found["similarity"]["Fruit"] == hit_rates([1, None])


def test_kept_answers_are_read_as_they_were_but_for_a_line_that_was_cut_off(tmp_path: Path) -> None:
    photos = [asked("a", ranked("a", 0.8, PRINTED_TEXT=0.1)), asked("b")]
    file = tmp_path / "answers"
    file.write_text("".join(map(line_of, photos)) + line_of(photos[0])[:40])
    assert read_answers(file) == photos
    assert read_answers(tmp_path / "none") == []


def test_times_are_medians_of_the_photos_that_were_searched() -> None:
    one = asked("a", ranked("a", 0.8))
    times = [{"embed": 10.0, "codes": 0.0}, {"embed": 30.0, "codes": 0.0}]
    searched = [Asked("", "a", "", one.candidates, each) for each in times]
    assert stage_times([*searched, Asked("", "a", "", (), {"embed": 999.0, "codes": 1.0})]) == {"embed": 20.0}
    assert stage_times([]) == {}
