"""The figures of writes and searches of one catalog: what breaks which bound, and which searches met a merge."""

import json

import numpy as np
import pytest

from load_tests.catalog_churn.events import CHECKPOINT, MERGE, Seen, overlapping
from load_tests.catalog_churn.figures import CHECKS, FRESHNESS, HARDEST, bounds, compared, of_turn
from load_tests.catalog_churn.finding import Finding
from load_tests.catalog_churn.turns import Turn
from load_tests.catalog_churn.writing import number_of, title_of
from load_tests.catalog_soak import Disk
from load_tests.catalog_soak import bounds as soak_bounds
from load_tests.observe.scrapes import Labels, Scrape

GOOD = {f"{MERGE}_count": 1.0, f"{MERGE}_sum": 2.0, f"{CHECKPOINT}_count": 1.0, f"{CHECKPOINT}_sum": 0.2}


def scrape_at(at: float, found_s: float = 0.1, missed: float = 0.0, **samples: float) -> Scrape:
    """A scrape after one check of freshness."""
    found: dict[tuple[str, Labels], float] = {(name, ()): value for name, value in samples.items()}
    found |= {(f"{FRESHNESS}_bucket", (("le", le),)): float(found_s <= float(le)) for le in ("0.5", "1.0", "+Inf")}
    return Scrape(at, found | {(f"{FRESHNESS}_count", ()): 1.0, (CHECKS, (("outcome", "missed"),)): missed})


def turn(
    searches: tuple[float, ...] = (0.2, 0.2, 0.2), busy: tuple[int, ...] = (1,), after: Scrape | None = None
) -> Turn:
    """A turn with one merge and one checkpoint."""
    seen = Seen([Scrape(0.0, {}), after or scrape_at(10.0, **GOOD)])
    mask = np.isin(np.arange(len(searches)), busy)
    at_s = np.arange(len(searches)) / 2
    return Turn(np.array(searches), mask, at_s, at_s / 100, seen, {}, Finding(found_s=[0.1]))


def broken(churn: Turn, idle: Turn | None = None) -> list[str]:
    return [bound.name for bound in bounds([idle or turn()], [churn]) if not bound.kept]


def refused() -> Turn:
    found = turn()
    found.pictured.errors.append("the disk is full")
    return found


def stale() -> Turn:
    found = turn()
    found.finding.stale = 1
    return found


def test_a_turn_that_is_as_quick_as_the_idle_one_keeps_all_bounds() -> None:
    assert broken(turn()) == []


@pytest.mark.parametrize(
    ("churn", "name"),
    [
        (turn((0.2, 0.2, 0.9), ()), "search p99 under churn over idle"),
        (turn((0.2, 0.2, 0.29, 0.31), (3,)), "search p99 during merges and checkpoints over idle"),
        (turn((0.2, np.nan)), "searches not answered"),
        (turn(after=scrape_at(10.0, found_s=1.5, **GOOD)), "s from acknowledged to found, p99 of the server's checks"),
        (turn(after=scrape_at(10.0, missed=1.0, **GOOD)), "the same by the server's checks"),
        (turn(after=scrape_at(10.0, **{**GOOD, f"{MERGE}_count": 0.0})), "churn turns without a merge"),
        (turn(after=scrape_at(10.0, **{**GOOD, f"{CHECKPOINT}_count": 0.0})), "churn turns without a checkpoint"),
        (refused(), "writes refused"),
        (stale(), "acknowledged and not found, or found as before"),
    ],
)
def test_what_is_wrong_breaks_its_bound(churn: Turn, name: str) -> None:
    assert name in broken(churn)


def test_searches_that_met_a_merge_are_those_that_overlap_it() -> None:
    scrapes = [scrape_at(at, **{f"{MERGE}_count": float(at >= 6), f"{MERGE}_sum": 1.5 * (at >= 6)}) for at in (5, 6, 7)]
    spans = Seen(scrapes).spans(MERGE)
    assert spans == [(3.5, 6)]
    begins = np.array([1.0, 3.0, 4.0, 5.9, 6.1])
    assert overlapping(begins, begins + 0.6, spans).tolist() == [False, True, True, True, False]


def test_searches_of_all_turns_are_compared_together_and_one_pause_does_not_decide() -> None:
    quick = (0.2,) * 120
    paused = (*quick[1:], 9.0)
    found = compared([turn(quick)] * 3, [turn(quick), turn(paused, (119,)), turn(quick)])
    assert (found["idle"]["searches"], found["churn"]["searches"], found["during"]["searches"]) == (360, 360, 3)
    assert (found["churn"]["p99_ms"], found["churn"]["slowest_ms"][:2]) == (200.0, [9000.0, 200.0])
    assert found["during"]["p50_ms"] == 200.0


def test_searches_without_an_answer_and_the_slowest_are_described_one_by_one() -> None:
    hardest = of_turn(turn((0.3, np.nan, 0.9, *(0.2,) * 20)))["hardest"]
    assert hardest[:3] == [
        {"at_s": 0.5, "ms": None, "late_ms": 5.0, "busy": True},
        {"at_s": 1.0, "ms": 900.0, "late_ms": 10.0, "busy": False},
        {"at_s": 0.0, "ms": 300.0, "late_ms": 0.0, "busy": False},
    ]
    assert len(hardest) == HARDEST


def test_figures_without_calls_are_null_in_json() -> None:
    found = of_turn(turn((np.nan,), ()))
    assert (found["p99_ms"], found["searches"]) == (None, 1)
    json.dumps(found, allow_nan=False)


def test_titles_say_which_write_a_product_is_of() -> None:
    assert [number_of(title) for title in (title_of(0), title_of(17), "built", "imported")] == [0, 17, -1, -1]


@pytest.mark.parametrize(
    ("last", "slope", "name"),
    [
        (Disk(100, 10, 61, 0, 1.0), 0.1, "versions of the base"),
        (Disk(151, 10, 25, 0, 1.0), 0.1, "files at the end over the most of the first third"),
        (Disk(100, 16, 25, 0, 1.0), 0.1, "bytes at the end over the most of the first third"),
        (Disk(100, 10, 25, 0, 0.9), 0.1, "1 - recall@10, the worst sample"),
        (Disk(100, 10, 25, 0, 1.0), 1.1, "MB a minute of resident memory, the steepest process"),
        (Disk(100, 10, 25, 0, 1.0), 0.1, ""),
    ],
)
def test_what_grows_breaks_its_bound(last: Disk, slope: float, name: str) -> None:
    disks = [Disk(100, 10, 25, 0, 1.0)] * 5 + [last]
    held = soak_bounds(turn(), disks, {"server": slope})
    assert [bound.name for bound in held if not bound.kept] == ([name] if name else [])


def test_a_growth_that_was_not_measured_keeps_no_bound() -> None:
    held = soak_bounds(turn(), [Disk(100, 10, 25, 0, 1.0)] * 5, {})
    assert not [bound.name for bound in held if "memory" in bound.name]
