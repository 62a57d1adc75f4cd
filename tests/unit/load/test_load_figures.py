"""Figures, thresholds, theory and comparison of the load tests."""

import random

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from load_tests.generator.arrivals import Phase
from load_tests.generator.records import CODES, Run, histogram, milliseconds, to_run
from load_tests.observe.scrapes import Between, Scrape
from load_tests.report.document import encoded
from load_tests.report.figures import by_minute, of_run, recovery_s, verdicts
from load_tests.report.queueing import time_in_system, wait_cdf
from load_tests.same_answers import Place, difference
from load_tests.scenarios.scenario import Threshold

Row = tuple[float, ...]


def row(
    at: float, latency_s: float, code: str = "OK", *, late_s: float = 0.0, failures: int = 0, request: int = 0
) -> Row:
    end = at + latency_s
    return (at, at + late_s, at, at, end, end, CODES.index(code), 1, failures, request, 0)


def run_of(*rows: Row) -> Run:
    return to_run(list(rows), seconds=10.0, cpu_s=0.1)


def test_latency_counts_from_the_intended_start() -> None:
    run = run_of((1.0, 1.5, 1.6, 1.7, 1.8, 2.0, CODES.index("OK"), 1, 0, 0, 0))
    assert run.latency_s.tolist() == [1.0]


def test_a_call_with_a_failed_object_is_not_good() -> None:
    run = run_of(row(0, 0.1), row(1, 0.1, failures=1), row(2, 0.1, "RESOURCE_EXHAUSTED"))
    assert run.good.tolist() == [True, False, False]


@pytest.mark.parametrize(("late_s", "valid"), [(0.004, True), (0.006, False)])
def test_a_run_sent_late_is_invalid(late_s: float, valid: bool) -> None:
    assert run_of(*(row(at, 0.1, late_s=late_s) for at in range(100))).valid is valid


@pytest.mark.parametrize(("slow_from", "ratio"), [(220, 3.0), (300, 1.0), (0, 1.0)])
def test_a_server_that_slows_down_shows_in_the_last_third(slow_from: int, ratio: float) -> None:
    run = run_of(*(row(at, 0.3 if at >= slow_from else 0.1) for at in range(300)))
    found = of_run(run, [Phase("soak", 300.0, 1.0, 0.7)], 1.0, good_requests=1)
    assert found["p99_last_over_first_third"] == pytest.approx(ratio)


def test_refusals_and_departures_are_no_errors_and_faults_are() -> None:
    run = run_of(row(0, 0.1), row(1, 0, "RESOURCE_EXHAUSTED"), row(2, 0, "LEFT"), row(3, 0, "INTERNAL"))
    found = of_run(run, [Phase("steady", 4.0, 1.0, 1.0)], 1.0, good_requests=1)
    assert found["error_share"] == 0.25
    assert found["refused_share"] == 0.25
    assert found["goodput_over_capacity"] == 0.25


def test_a_bad_request_that_was_answered_shows() -> None:
    refused, answered = row(0, 0.1, "INVALID_ARGUMENT", request=1), row(1, 0.1, "OK", request=1)
    found = of_run(run_of(row(2, 0.1), refused, answered), [Phase("steady", 4.0, 1.0, 1.0)], 1.0, good_requests=1)
    assert found["bad_refused_share"] == 0.5
    assert found["error_share"] == 0.0


def test_slow_readers_do_not_count_as_slow_answers() -> None:
    slow = (0.0, 0.0, 0.0, 0.0, 0.1, 9.0, CODES.index("OK"), 1, 0, 0, 1)
    found = of_run(run_of(slow, row(1, 0.1)), [Phase("steady", 4.0, 1.0, 1.0)], 1.0, good_requests=1)
    assert found["max_ms"] == pytest.approx(100.0)


@pytest.mark.parametrize(("slow_until", "waited"), [(20.0, 0.0), (23.0, 3.0), (99.0, float("inf"))])
def test_recovery_is_counted_from_the_end_of_the_spike(slow_until: float, waited: float) -> None:
    at = np.arange(0.0, 40.0, 0.1)
    rows = [row(float(t), 1.0 if 10.0 <= t < slow_until else 0.1) for t in at]
    assert recovery_s(run_of(*rows), 10.0, 20.0) == waited


def test_each_minute_says_how_its_calls_ended() -> None:
    slow, lost = [row(at, 0.3) for at in range(60, 119)], row(119, 2.0, "UNANSWERED")
    run = run_of(*(row(at, 0.1) for at in range(60)), *slow, lost, row(125, 0.1, "RESOURCE_EXHAUSTED", late_s=0.02))
    first, second, third = by_minute(run, 180.0)
    assert (first["calls"], first["errors"]) == (60, 0)
    assert first["p99_ms"] == pytest.approx(100.0)
    assert second["errors"] == 1
    assert second["p50_ms"] == pytest.approx(300.0)
    assert (third["refused"], third["errors"]) == (1, 0)
    assert third["lateness_p99_ms"] == pytest.approx(20.0)
    assert by_minute(run, 170.0) == []


def test_a_threshold_without_its_figure_does_not_hold() -> None:
    bounds = [Threshold("p99_ms", at_most=5.0), Threshold("goodput", at_least=0.9), Threshold("missing", at_most=1.0)]
    assert [v["holds"] for v in verdicts({"p99_ms": 5.0, "goodput": 0.89}, bounds)] == [True, False, False]


def test_the_histogram_keeps_three_digits_and_its_code_can_be_read_again() -> None:
    run = run_of(*(row(float(at), 0.001 * (at + 1)) for at in range(1000)))
    exact = milliseconds(run.latency_s, 99)
    assert histogram(run.latency_s).get_value_at_percentile(99) / 1e3 == pytest.approx(exact, rel=2e-3)
    again = HdrHistogram.decode(encoded(run))
    assert again.get_total_count() == 1000


def test_waits_of_an_m_d_1_queue_agree_with_a_simulation() -> None:
    source, load, waited, waits = random.Random(5), 0.7, 0.0, []
    for _ in range(200_000):
        waits.append(waited)
        waited = max(0.0, waited + 1.0 - source.expovariate(load))
    for bound in (0.0, 0.5, 1.0, 2.5, 6.0):
        share = sum(wait <= bound for wait in waits) / len(waits)
        assert wait_cdf(load, bound) == pytest.approx(share, abs=0.012)


def test_the_tail_goes_on_where_the_exact_sum_ends() -> None:
    assert wait_cdf(0.7, 12.01) == pytest.approx(wait_cdf(0.7, 12.0), abs=1e-4)
    assert time_in_system(0.9, 0.1, 0.9999) > time_in_system(0.9, 0.1, 0.99) > 0.1


def test_a_scrape_tells_means_and_bounds_of_what_grew() -> None:
    def at(count: float, low: float) -> Scrape:
        name, stage = "sightline_stage_seconds", ("stage", "detect")
        return Scrape(
            0.0,
            {
                (f"{name}_count", (stage,)): count,
                (f"{name}_sum", (stage,)): count * 0.2,
                (f"{name}_bucket", (("le", "0.1"), stage)): low,
                (f"{name}_bucket", (("le", "0.5"), stage)): count,
                (f"{name}_bucket", (("le", "+Inf"), stage)): count,
            },
        )

    span = Between(at(10, 10), at(30, 20))
    assert span.mean("sightline_stage_seconds", stage="detect") == pytest.approx(0.2)
    assert span.quantile_bound("sightline_stage_seconds", 0.5, stage="detect") == 0.1
    assert span.quantile_bound("sightline_stage_seconds", 0.99, stage="detect") == 0.5


ALONE = [Place("a", 0.9, 0.93), Place("b", 0.8, 0.8), Place("c", 0.799995, 0.799995), Place("d", 0.5, 0.5)]


@pytest.mark.parametrize(
    ("order", "same"),
    [((0, 1, 2, 3), True), ((0, 2, 1, 3), True), ((1, 0, 2, 3), False), ((0, 1, 3, 2), False)],
)
def test_only_tied_products_may_exchange_places(order: tuple[int, ...], same: bool) -> None:
    assert (difference(ALONE, [ALONE[place] for place in order]) is None) is same


@pytest.mark.parametrize(("shift", "same"), [(9e-6, True), (3e-5, False)])
def test_similarities_may_differ_by_the_tolerance(shift: float, same: bool) -> None:
    moved = [Place(name, similarity + shift, score) for name, similarity, score in ALONE]
    assert (difference(ALONE, moved) is None) is same
