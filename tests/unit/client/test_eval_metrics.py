"""The evaluation's figures on lists whose figures are known."""

from pathlib import Path

import pytest

from sightline_client import events
from sightline_client.answers import Answer
from sightline_client.evaluation import (
    Outcome,
    Query,
    QueryFileError,
    Regions,
    best_rank,
    choose_regions,
    read_queries,
    report,
)
from tests.support.fake_lens import ANSWER, CHAIR, VASE, ranked


def test_figures_of_a_known_list() -> None:
    timings = [events.StageTimings(total_ms=each) for each in (1.0, 2.0, 6.0)]
    outcomes = [
        Outcome(1, timings[0]),
        Outcome(3, timings[1]),
        Outcome(8, timings[2]),
        Outcome(11, skipped=True),
        Outcome(None),
        Outcome(error="gone"),
    ]
    figures = report(outcomes)
    assert figures["hit@1"] == pytest.approx(1 / 6, abs=1e-6)
    assert figures["hit@5"] == pytest.approx(2 / 6, abs=1e-6)
    assert figures["hit@10"] == pytest.approx(3 / 6, abs=1e-6)
    assert figures["mrr@10"] == pytest.approx((1 + 1 / 3 + 1 / 8) / 6, abs=1e-6)
    assert (figures["n"], figures["failed"], figures["skipped"]) == (6, 1, 1)
    assert figures["stages"]["total_ms"] == {"mean": 3.0, "p50": 2.0}


def test_no_queries_is_no_figure() -> None:
    with pytest.raises(ValueError, match="no outcomes"):
        report([])


def test_a_photo_counts_by_its_best_object() -> None:
    answer = Answer.of(
        [
            events.Detected((CHAIR, VASE)),
            events.ObjectResults("o1", (ranked("a", 1), ranked("b", 2), ranked("c", 3))),
            events.ObjectResults("o2", (ranked("c", 1), ranked("b", 2))),
            ANSWER[-1],
        ]
    )
    assert [best_rank(answer, product_id) for product_id in ("a", "b", "c", "d")] == [1, 2, 1, None]


def write(folder: Path, text: str) -> Path:
    (folder / "queries.csv").write_text(text, encoding="utf-8")
    return folder / "queries.csv"


def test_queries_are_read_relative_to_their_file(tmp_path: Path) -> None:
    path = write(tmp_path, '\ufeffimage,product_id,box\na/1.jpg,p1,"0.1,0.2,0.3,0.4"\n2.jpg,p2,\n')
    assert read_queries(path) == [
        Query(tmp_path / "a/1.jpg", "p1", events.Box(0.1, 0.2, 0.3, 0.4)),
        Query(tmp_path / "2.jpg", "p2"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image\n1.jpg\n", "no column product_id"),
        ("image,product_id\n", "no rows"),
        ("image,product_id\n1.jpg,\n", "line 2"),
        ("image,product_id,box\n1.jpg,p,\n2.jpg,p,1;2\n", "line 3: box '1;2'"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(QueryFileError, match=said):
        read_queries(write(tmp_path, text))


def test_regions_follow_the_file_unless_told() -> None:
    boxed, plain = Query(Path("1.jpg"), "p", events.Box.whole()), Query(Path("2.jpg"), "p")
    assert choose_regions([boxed], None) is Regions.BOX
    assert choose_regions([plain], None) is Regions.DETECT
    assert choose_regions([boxed, plain], Regions.WHOLE) is Regions.WHOLE
    with pytest.raises(QueryFileError, match="1 of 2 rows have no box"):
        choose_regions([boxed, plain], Regions.BOX)


def test_the_request_of_each_kind() -> None:
    query = Query(Path("1.jpg"), "p", events.Box(0.1, 0.2, 0.3, 0.4))
    assert query.regions(Regions.BOX) == (query.box,)
    assert query.regions(Regions.WHOLE) == (events.Box(0.0, 0.0, 1.0, 1.0),)
    assert query.regions(Regions.DETECT) == ()
