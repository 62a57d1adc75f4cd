"""The instants at which calls are due: rates, shapes and Poisson gaps."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_tests.generator.arrivals import Phase, constant, poisson, schedule

rates = st.floats(0.1, 200.0)
seconds = st.floats(0.5, 30.0)


def test_constant_arrivals_are_evenly_spaced() -> None:
    due = list(constant(10.0, 2.0))
    assert len(due) == 20
    assert [round(later - earlier, 9) for earlier, later in itertools.pairwise(due)] == [0.1] * 19


@given(st.lists(st.tuples(seconds, rates, rates), min_size=1, max_size=4), st.none() | st.integers(0, 99))
def test_calls_are_in_order_and_within_the_run(parts: list[tuple[float, float, float]], seed: int | None) -> None:
    phases = [Phase("part", *part) for part in parts]
    due = list(schedule(phases, seed=seed))
    assert due == sorted(due)
    assert all(0.0 <= at <= sum(phase.seconds for phase in phases) + 1e-6 for at in due)


@given(st.lists(st.tuples(seconds, rates, rates), min_size=1, max_size=4))
def test_even_calls_are_as_many_as_are_due(parts: list[tuple[float, float, float]]) -> None:
    phases = [Phase("part", *part) for part in parts]
    assert len(list(schedule(phases))) == pytest.approx(sum(phase.calls for phase in phases), abs=1.01)


def test_a_ramp_gets_denser() -> None:
    due = list(schedule([Phase("ramp", 10.0, 0.0, 20.0)]))
    early, late = sum(at < 5.0 for at in due), sum(at >= 5.0 for at in due)
    # The rate is 2 t, so a quarter of the calls is due in the first half.
    assert (early, late) == (25, 75)


def test_a_spike_starts_where_its_phase_starts() -> None:
    due = list(schedule([Phase("before", 10.0, 1.0, 1.0), Phase("spike", 5.0, 10.0, 10.0)]))
    assert sum(at < 10.0 for at in due) == 10
    assert sum(at >= 10.0 for at in due) == 50


def test_poisson_has_its_rate_and_its_spread() -> None:
    due = list(poisson(50.0, 200.0, seed=1))
    gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert len(due) == pytest.approx(10_000, rel=0.05)
    assert spread == pytest.approx(mean, rel=0.05)


def test_poisson_repeats_from_its_seed() -> None:
    assert list(poisson(5.0, 10.0, seed=3)) == list(poisson(5.0, 10.0, seed=3))
    assert list(poisson(5.0, 10.0, seed=3)) != list(poisson(5.0, 10.0, seed=4))
