"""The cost of access: what a turn's figures are made of, and how they are judged."""

import numpy as np
import pytest

from load_tests.access_cost import AccessFigures, more, report, unloaded
from load_tests.generator.records import CODES, Run
from load_tests.turns.sides import Cpu, Turn


def run(seconds: list[float], code: str = "OK") -> Run:
    """Calls of one object that take these seconds."""
    count, start = len(seconds), np.zeros(len(seconds))
    return Run(
        intended=start,
        sent=start,
        accepted=start,
        detected=start,
        first=start,
        ended=np.array(seconds),
        code=np.full(count, CODES.index(code)),
        objects=np.ones(count, np.int64),
        failures=np.zeros(count, np.int64),
        request=np.arange(count),
        slow=np.zeros(count, np.int64),
    )


def turn(own_s: float, *, alone: list[float] | None = None, code: str = "OK") -> Turn:
    """A turn of two calls of one caller and four of several; the server's own CPU is `own_s` in both parts."""
    cpu = Cpu(whole_s=10.0, own_s=own_s)
    return Turn(run(alone or [0.1, 0.2], code), cpu, run([1.0, 1.0, 2.0, 2.0], code), cpu, 4.0)


def test_figures_are_of_the_server_without_its_engine() -> None:
    figures = AccessFigures.of(turn(0.02))
    assert (figures.unloaded_cpu_ms, figures.loaded_cpu_ms) == (10.0, 5.0)
    assert (figures.unloaded_p50_ms, figures.photos_per_s) == (150.0, 2.0)


def test_a_turn_without_an_answer_is_an_error_that_names_the_codes() -> None:
    with pytest.raises(ValueError, match="UNAUTHENTICATED"):
        AccessFigures.of(turn(0.02, code="UNAUTHENTICATED"))


def test_differences_are_within_a_turn() -> None:
    assert more([(1.0, 2.0), (10.0, 13.0), (5.0, 4.5)]) == {"median": 1.0, "least": -0.5, "most": 3.0}


def test_percentiles_are_over_the_calls_of_all_turns() -> None:
    assert unloaded([turn(0.0, alone=[0.1] * 3), turn(0.0, alone=[0.4])]) == {"calls": 4, "p50": 100.0, "p99": 391.0}


def test_the_bound_is_kept_up_to_three_milliseconds_of_cpu() -> None:
    kept = report([(turn(0.010), turn(0.016))] * 3)
    assert kept["kept"] is True
    assert kept["more_cpu_ms"]["unloaded"]["median"] == 3.0
    assert kept["photos_per_s"]["ratio"] == 1.0
    assert report([(turn(0.010), turn(0.017))] * 3)["kept"] is False
