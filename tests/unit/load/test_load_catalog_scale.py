"""The table of growing catalogs: the script runs on small ones, cleans up, and judges what it measured."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from load_tests.catalog_scale.__main__ import Grown, bounds, count_of, growth, main
from load_tests.catalog_scale.reading import Reading, Search
from load_tests.catalog_scale.shop import SHARES, Size, matches

SEARCH = Search("all", "all", 1.0, 1.0, 2.0, 3.0, 4.0)
GROWN = Grown(Size(1000, 8), 1.0, 0.0, 5.0, 0.0, Reading("flat", 2.0, 100.0, 120.0, (SEARCH,)))


def test_the_script_measures_small_catalogs_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    arguments = ["--sizes", "3k", "--dimension", "8", "--wide", "", "--exact-mib", "0", "--queries", "32"]
    code = main(arguments)
    printed = capsys.readouterr()
    result = json.loads(printed.out.splitlines()[-1])
    [size] = result["sizes"]
    assert size["size"] == {"products": 3000, "dimension": 8}
    assert [(each["name"], each["recall"] >= 0.95) for each in size["reading"]["searches"]] == [
        (name, True) for name in ("all", *SHARES)
    ]
    assert size["reading"]["start_s"] > 0 < size["disk_mb"]
    assert (code, result["kept"]) == (0, True)
    assert "bound 3000 x 8, filter 5%: recall@10" in printed.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SHARES)
def test_a_filter_lets_its_share_through(name: str) -> None:
    assert np.mean(matches(name, 100_000)) == pytest.approx(1 / SHARES[name], rel=0.2)


def test_a_bound_is_missed_by_one_search_or_a_slow_start() -> None:
    assert all(bound.kept for bound in bounds([GROWN]))
    low = replace(GROWN, reading=replace(GROWN.reading, searches=(SEARCH, replace(SEARCH, name="5%", recall=0.949))))
    assert [bound.kept for bound in bounds([low])] == [True, False]
    slow = replace(GROWN, size=Size(1_000_000, 8), reading=replace(GROWN.reading, start_s=60.0))
    assert [str(bound).rpartition(": ")[2] for bound in bounds([slow])] == ["pass", "MISSED"]


def test_growth_is_between_sizes_of_one_dimension() -> None:
    larger = replace(GROWN, size=Size(10_000, 8), build_s=9.0)
    [line] = growth([GROWN, larger, replace(GROWN, size=Size(10_000, 9))])
    assert line.startswith("1000 x 8 -> 10000 x 8 (x10): build_s x9, choose_s -, start_s x1")


@pytest.mark.parametrize(("text", "count"), [("250", 250), ("10k", 10_000), ("1M", 1_000_000), (" 2m ", 2_000_000)])
def test_a_number_of_products_may_have_a_unit(text: str, count: int) -> None:
    assert count_of(text) == count
