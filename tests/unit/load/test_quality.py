"""The figures of quality: kinds, sums, and what counts as lost."""

import csv
from pathlib import Path
from typing import Any

import pytest

from load_tests.quality import GATED, RECORD, by_kind, lost, row, together


def report(number: int, hit: float, failed: int = 0) -> dict[str, Any]:
    hits = {"hit@1": hit, "hit@5": hit, "hit@10": 1.0}
    times = {"stages": {"total_ms": {"p50": 100.0 * number}}, "cpu_ms": 10.0 * number}
    return {**hits, "n": number, "person": 1, "failed": failed, **times}


def test_sets_of_queries_count_by_their_numbers() -> None:
    found = together([report(10, 1.0), report(30, 0.2, failed=2)])
    assert (found["hit@1"], found["hit@10"], found["n"], found["person"], found["failed"]) == (0.4, 1.0, 40, 2, 2)
    assert found["stages"]["total_ms"]["p50"] == 2500.0
    assert row("all", found) == "| all | 40 | 0.400 | 0.400 | 1.000 | 2 | 2500 | 250 |\n"


def test_queries_are_sorted_by_the_first_part_of_the_product_type(tmp_path: Path) -> None:
    (tmp_path / "feed.csv").write_text("id,product_type\na,Fruit > Apple\nb,Packages > Milk\nc,Fruit > Pear\n")
    (tmp_path / "queries.csv").write_text("image,product_id\nx.jpg,a\ny.jpg,b\nz.jpg,c\n")
    found = by_kind(tmp_path, tmp_path)
    assert list(found) == ["Fruit", "Packages"]
    rows = {kind: list(csv.reader(path.read_text().splitlines())) for kind, path in found.items()}
    assert rows["Fruit"][1:] == [[str(tmp_path / "x.jpg"), "a"], [str(tmp_path / "z.jpg"), "c"]]
    assert rows["Packages"][1:] == [[str(tmp_path / "y.jpg"), "b"]]


@pytest.mark.parametrize(("found", "worse"), [(0.5, 0), (0.4901, 0), (0.489, 1), (0.6, 0)])
def test_a_figure_that_fell_by_more_than_a_hundredth_is_lost(found: float, worse: int) -> None:
    assert len(lost(dict.fromkeys(GATED, found), {GATED[0]: 0.5})) == worse


def test_the_record_has_every_figure_of_the_gate() -> None:
    text = (RECORD / "quality.json").read_text()
    assert all(f'"{name}": 0.' in text for name in GATED)
    assert "showroom, whole path" in (RECORD / "quality.md").read_text()
