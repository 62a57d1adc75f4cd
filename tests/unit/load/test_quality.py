"""The figures of quality: kinds, sums, and what counts as lost."""

import csv
from pathlib import Path
from typing import Any

import pytest

from load_tests.hit_rates.tables import Run, row, sections, together
from load_tests.quality import GATED, RECORD, by_kind, lost, options


def report(number: int, hit: float, failed: int = 0, skipped: int = 0) -> dict[str, Any]:
    hits = {"hit@1": hit, "hit@5": hit, "hit@10": 1.0}
    stages = {"total_ms": 100.0 * number, "local_features_ms": 1.0 * number, "printed_text_ms": 0.0}
    times = {"stages": {name: {"p50": p50} for name, p50 in stages.items()}, "cpu_ms": 10.0 * number}
    return {**hits, "n": number, "person": 1, "failed": failed, "skipped": skipped, **times}


def test_sets_of_queries_count_by_their_numbers() -> None:
    found = together([report(10, 1.0), report(30, 0.2, failed=2)])
    assert (found["hit@1"], found["hit@10"], found["n"], found["person"], found["failed"]) == (0.4, 1.0, 40, 2, 2)
    assert found["stages"]["total_ms"]["p50"] == 2500.0
    assert row("all", found) == "| all | 40 | 0.400 | 0.400 | 1.000 | 2 | 2500 | 25, 0 | 250 |\n"
    late = together([report(10, 1.0, skipped=3), report(30, 0.2)])
    assert row("all", late).startswith("| all (3 without a comparison, for lack of time) | 40 |")


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


def run_of(embedder: str) -> Run:
    return Run(
        [], "showroom rows\n", "grocery rows\n", {"detector": "yolov4-tiny-coco-416@1", "embedder": f"{embedder}@2"}
    )


def test_the_figures_of_other_models_are_separate_sections() -> None:
    given = options().parse_args(["--grocery", "shop", "--printed-text"])
    default = sections(run_of("efficientnet-lite2-260"), given)
    assert list(default) == ["showroom", "groceries"]
    assert "GROCERY=DIR PRINTED_TEXT=1`" in default["groceries"]
    assert default["showroom"].endswith("|\nshowroom rows\n")
    pair = sections(run_of("pair-lite2-lcnetv2-260"), given)
    assert not default.keys() & pair.keys()
    assert "pair-lite2-lcnetv2-260@2" in pair["groceries, yolov4-tiny-coco-416, pair-lite2-lcnetv2-260"]


def test_what_was_not_measured_is_not_recorded() -> None:
    run = run_of("efficientnet-lite2-260")
    run.of_showroom = ""
    assert list(sections(run, options().parse_args([]))) == ["groceries"]
