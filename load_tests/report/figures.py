"""The figures of a run: what thresholds are checked against and what the report shows. Pure.

Rule: refusals (RESOURCE_EXHAUSTED) are answers and not errors; a bad request is right when it was refused as one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from load_tests.generator.arrivals import Phase
from load_tests.generator.records import LEFT, Run, milliseconds, percentile
from load_tests.observe.holdings import MEGABYTE, Look, rss_slopes
from load_tests.observe.pace import first_and_last_third
from load_tests.scenarios.scenario import Threshold

SLACK = 1.25
"""A p99 within this factor of the steady one counts as recovered; windows after a spike are small."""
BAD_CODES = ("INVALID_ARGUMENT", "UNKNOWN", "INTERNAL", "RESOURCE_EXHAUSTED")
"""The codes with which bad requests may end; UNKNOWN and INTERNAL are gRPC's own for bytes that are not a message."""
MINUTE = 60.0


def of_run(run: Run, phases: Sequence[Phase], capacity: float, good_requests: int) -> dict[str, float]:
    """The figures that the calls alone give. Latencies are in ms, of good calls whose callers read at once."""
    wanted = run.request < good_requests
    refused = run.of("RESOURCE_EXHAUSTED") & wanted
    fine = run.good | refused | run.of(LEFT)
    patient = run.good & np.equal(run.slow, 0)
    latency = run.latency_s[patient]
    sent = max(1, int(wanted.sum()))
    seconds = max(sum(phase.seconds for phase in phases), 1e-9)
    found = {
        "calls": float(len(run.code)),
        "good": float(run.good.sum()),
        "error_share": float((wanted & ~fine).sum()) / sent,
        "refused_share": float(refused.sum()) / sent,
        "unanswered": float(run.of("UNANSWERED").sum()),
        "p50_ms": milliseconds(latency, 50),
        "p90_ms": milliseconds(latency, 90),
        "p99_ms": milliseconds(latency, 99),
        "max_ms": milliseconds(latency, 100),
        "first_result_p50_ms": milliseconds((run.first - run.intended)[patient], 50),
        "p99_over_p50": round(percentile(latency, 99) / max(percentile(latency, 50), 1e-9), 3),
        "rejected_p99_ms": milliseconds(run.latency_s[refused], 99),
        "goodput_per_s": round(float(run.good.sum()) / seconds, 3),
        "goodput_over_capacity": round(float(run.good.sum()) / seconds / capacity, 3),
        "lateness_p99_ms": round(run.lateness_p99_s * 1e3, 3),
        "generator_cpu_s": round(run.cpu_s, 2),
    }
    if not wanted.all():
        found["bad_refused_share"] = bad_refused_share(run, good_requests)
    if len(phases) == 3:
        found["recovery_s"] = recovery_s(run, phases[0].seconds, phases[0].seconds + phases[1].seconds)
    if seconds >= 3 * MINUTE:
        first, last = (run.between(*span) for span in first_and_last_third(0.0, seconds))
        first_p99 = max(percentile(first.latency_s[first.good], 99), 1e-9)
        found["p99_last_over_first_third"] = round(percentile(last.latency_s[last.good], 99) / first_p99, 3)
    return found


def by_minute(run: Run, seconds: float) -> list[dict[str, float]]:
    """Each whole minute of a run of three or more: how its calls ended, and how late they were sent."""
    minutes = [run.between(start, start + MINUTE) for start in np.arange(0.0, seconds - MINUTE + 1e-6, MINUTE)]
    return [of_minute(minute) for minute in minutes] if len(minutes) >= 3 else []


def of_minute(minute: Run) -> dict[str, float]:
    """The figures of one minute; errors are calls without an answer in time, refusals are answers."""
    good, refused = minute.latency_s[minute.good], minute.of("RESOURCE_EXHAUSTED")
    return {
        "calls": float(len(minute.code)),
        "errors": float((~(minute.good | refused)).sum()),
        "refused": float(refused.sum()),
        "p50_ms": milliseconds(good, 50),
        "p99_ms": milliseconds(good, 99),
        "lateness_p99_ms": round(minute.lateness_p99_s * 1e3, 2),
    }


def bad_refused_share(run: Run, good_requests: int) -> float:
    """Share of the bad requests that were refused, and nothing else."""
    bad = run.request >= good_requests
    right = np.logical_or.reduce([run.of(code) for code in BAD_CODES])
    return float((bad & right).sum()) / max(1, int(bad.sum()))


def recovery_s(run: Run, steady_end: float, spike_end: float) -> float:
    """Whole seconds after the spike's end from which on p99 is that of before the spike; infinity when it never is."""
    steady = run.between(min(5.0, steady_end / 2), steady_end)
    bound = percentile(steady.latency_s[steady.good], 99) * SLACK
    last = float(run.intended.max(initial=spike_end))
    for waited in range(int(last - spike_end) + 1):
        rest = run.between(spike_end + waited, last + 1.0)
        answered = rest.good.all() and len(rest.code) > 0
        if answered and percentile(rest.latency_s, 99) <= bound:
            return float(waited)
    return float("inf")


def of_processes(looks: Sequence[Look]) -> dict[str, float]:
    """The growth of the processes between the first sample and the last: of each figure, the worst process."""
    before, after = looks[0], looks[-1]
    both = [(before.held[role], now) for role, now in after.held.items() if role in before.held]
    found = {
        "rss_growth_mb": max(round((now.rss - then.rss) / MEGABYTE, 2) for then, now in both),
        "descriptors_growth": float(max(now.descriptors - then.descriptors for then, now in both)),
        "threads_growth": float(max(now.threads - then.threads for then, now in both)),
        "shm_growth_bytes": float(after.shm_bytes - before.shm_bytes),
    }
    if slopes := rss_slopes(looks, skip=1 / 3):
        found["rss_mb_per_minute"] = max(slopes.values())
    return found


def verdicts(found: dict[str, float], thresholds: Sequence[Threshold]) -> list[dict[str, Any]]:
    """Each threshold with what was found; one whose figure is missing does not hold."""
    return [
        {
            "figure": threshold.figure,
            "bound": str(threshold),
            "found": found.get(threshold.figure),
            "holds": threshold.holds(found.get(threshold.figure, float("nan"))),
        }
        for threshold in thresholds
    ]
