"""The table of the ways to search under a filter: every way finds the same, and the script runs."""

import json

import numpy as np
import pytest

from load_tests import filter_plans
from load_tests.filter_plans import SHARES, K, Timing, crossover, unit_vectors
from sightline_server.index.faiss_index import FaissIndex
from sightline_server.index.filters.searches import ExactSearch, GatherSearch, SelectorSearch


def test_the_ways_that_are_timed_find_the_same() -> None:
    vectors = unit_vectors(300, 16)
    index = FaissIndex(vectors, use_gpu=False)
    allowed = np.random.default_rng(1).random(300) < 0.4
    matching = np.flatnonzero(allowed)
    searches = (
        GatherSearch(index, matching),
        SelectorSearch(index, allowed, len(matching)),
        ExactSearch(index, matching, 16, part_bytes=1000),
    )
    found = [search.search(vectors[:5].copy(), K)[1] for search in searches]
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


def test_the_script_prints_a_row_for_each_share_and_batch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["filter_plans", "--rows", "2000", "--dimension", "8", "--batches", "1", "4", "--runs", "1", "--json"]
    monkeypatch.setattr("sys.argv", [*arguments, "--columns", "10"])
    assert filter_plans.main() == 0
    printed = capsys.readouterr()
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert [(row["queries"], row["share"]) for row in rows] == [(size, share) for size in (1, 4) for share in SHARES]
    assert "columns of 10 products" in printed.err


def test_the_crossover_is_the_least_share_at_which_the_selector_is_faster() -> None:
    def timing(share: float, copy_ms: float, gather_ms: float) -> Timing:
        return Timing(1000, 8, 1, share, 9.0, copy_ms, gather_ms, 5.0, 9.0)

    table = [timing(0.1, 1.0, 1.0), timing(0.2, 4.0, 2.0), timing(0.5, 9.0, 6.0)]
    assert crossover(table) == (
        "1 queries: a selector beats copy and search from 20.0% on, the search of a kept copy from 50.0% on"
    )
