"""Cancelled calls by the thousand, and the resources that they leave behind. Part of `load_tests.run abandon`.

Rule: only calls that the caller cancelled count. The server's own counters say where each of them was; after
them nothing may be in flight, nothing may have grown, and a good call must be answered.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from load_tests.generator.process import Generator
from load_tests.generator.records import LEFT, Run
from load_tests.generator.tasks import Abandonment
from load_tests.observe.holdings import growth, look, rss_slopes
from load_tests.observe.sampling import Server, observed, settle
from load_tests.observe.scrapes import Between
from load_tests.report import document, figures
from load_tests.scenarios.scenario import Departures
from load_tests.standstill import pauses
from sightline_server.domain.stages import STAGES
from sightline_server.telemetry.stopwatch import PLACES

REST_S = 25.0
"""Memory that no call has needed for 10 s is given back."""
IN_TURN = tuple(stage.name for stage in STAGES if not stage.optional)
"""Stages that follow each other in every call."""
FULL_HOUSE = 32
FULL_HOUSE_S = 10.0


def play(
    scenario: Departures, server: Server, generator: Generator, good: int, calls: int | None, say: Callable[[str], None]
) -> dict[str, Any]:
    """Plays it against `server`; with `calls` instead of the scenario's number, and a warm-up in proportion."""
    wanted = calls or scenario.calls
    warm_up = max(1, scenario.warm_up * wanted // scenario.calls)
    say(f"warm-up: {warm_up} calls to cancel")
    # gRPC starts a thread when all of its threads are busy at one of its checks. Load alone does not cause that, a
    # moment without the processor does, and the thread stays. These pauses start such threads before the measurement.
    with pauses(server.pid):
        # The largest batches that the limits allow: engine processes find their size now and not while measured.
        generator.closed_loop(callers=FULL_HOUSE, seconds=FULL_HOUSE_S, requests=good)
        generator.abandon(Abandonment(scenario.callers, warm_up, good, scenario.moments, seed=1))
    rest(server)
    before = look(server.pid, generator.pid) if server.pid else None
    say(f"{wanted} calls to cancel")
    with observed(server, generator, wanted / 150) as seen:
        run = generator.abandon(Abandonment(scenario.callers, wanted, good, scenario.moments, seed=2))
        rest(server)
    after = look(server.pid, generator.pid) if server.pid else None
    span = Between(seen.scrapes[0], seen.scrapes[-1])
    found: dict[str, float] = {
        "calls": float(len(run.code)),
        "left": float(run.of(LEFT).sum()),
        "unanswered": float(run.of("UNANSWERED").sum()),
        "left_per_s": round(float(run.of(LEFT).sum()) / run.seconds, 1),
        "in_flight_after": seen.scrapes[-1].sum("sightline_in_flight"),
        "good_answer_after": good_answers(generator),
        "engine_restarts": span.grown("sightline_engine_restarts_total"),
        "places_that_nobody_left": float(sum(count == 0 for count in around(left_at(span)).values())),
    }
    processes: dict[str, Any] = {}
    if before is not None and after is not None:
        found |= figures.of_processes([before, after])
        looks = seen.watch.looks if seen.watch else []
        processes = {"growth": growth(before, after), "rss_mb_per_minute": rss_slopes(looks, 1 / 3)}
    return {
        "figures": found,
        "valid": True,
        "codes": run.codes,
        "places": places(run, span),
        "machine": seen.quiet,
        "stages_ms": span.stage_shares(),
        "processes": processes,
        "charts": document.process_charts(seen.watch.looks if seen.watch else []),
    }


def rest(server: Server) -> None:
    """Lets the server come to rest: nothing in flight, the last frees done."""
    settle(server.metrics_url)
    time.sleep(REST_S)


def good_answers(generator: Generator) -> float:
    """1 when one call after all of this is answered in full."""
    return float(generator.open_loop([0.0]).good.sum())


def places(run: Run, span: Between) -> dict[str, int]:
    """The moments of cancellation: by the last event that the caller had seen, and by the server's own counters.

    What waited in a queue was taken out of it, what was being run was run for nobody.
    """
    left = run.of(LEFT)
    last: Counter[str] = Counter()
    for accepted, detected, first in zip(run.accepted[left], run.detected[left], run.first[left], strict=True):
        last["results" if first else "detected" if detected else "accepted" if accepted else "nothing"] += 1
    found = {f"caller had seen {event}": last[event] for event in ("nothing", "accepted", "detected", "results")}
    cancelled = round(span.grown("sightline_requests_total", code="CANCELLED"))
    found["before the server's handler"] = max(0, int(left.sum()) - cancelled)
    found |= around(left_at(span))
    for batcher in ("frames", "crops", "queries"):
        waiting = span.grown("sightline_dropped_items_total", batcher=batcher, reason="cancelled")
        found[f"items of {batcher} taken out of the queue"] = round(waiting)
        found[f"items of {batcher} run for nobody"] = round(span.grown("sightline_wasted_items_total", batcher=batcher))
    return found


def left_at(span: Between) -> dict[tuple[str, str], int]:
    """Calls that the server saw left, by stage and moment."""
    return {
        (stage, moment): round(span.grown("sightline_left_calls_total", stage=stage, moment=moment))
        for stage, moment in PLACES
    }


def around(left: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Calls cancelled before (waiting for a thread or a batch), in and after each stage.

    A stage that sends no event is followed by the wait for the next one: after it is before that one. Ranking takes no
    time that a caller could leave in, so what comes after a search is the sending of its results.
    """
    found: dict[str, int] = {}
    for stage, following in pairwise(IN_TURN):
        after = left.get((stage, "after"), 0) + left.get((following, "before"), left.get((following, "after"), 0))
        found |= {
            f"before {stage}": left[stage, "before"],
            f"in {stage}": left[stage, "in"],
            f"after {stage}": after,
        }
    return found | {f"{moment} {name}": left[name, moment] for name, moment in PLACES if name not in IN_TURN}
