"""One run: a quiet time of the good caller, the hostile calls with the same caller, a rest, and what is left."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from load_tests.attacks.frame import Target
from load_tests.generator.process import Generator
from load_tests.generator.records import Run
from load_tests.guarded.caller import GrantedCaller
from load_tests.guarded.rights import Rights
from load_tests.hostile.attacker import Attackers
from load_tests.hostile.judging import DESCRIPTORS, GROWN_MB, Counters, Held, Observed, growth, held_by
from load_tests.hostile.materials import materials
from sightline.v1 import lens_service_pb2
from sightline_server.access.audit_log.folder import FIRST_KEY, read_first_key
from sightline_server.access.audit_log.verifying import verify_log
from tests.support.grants import MARK

DEADLINE_S = 10.0
WARM_SHARE, MOST_TO_WARM = 0.05, 5000
"""Hostile calls before the first sample, so that caches and allocators have their size."""
CHUNK_S = 5.0
REST_S = 2.0
BACK_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Hostile calls and the processes that make them, and the good caller's seconds of quiet and searches a second."""

    calls: int
    processes: int = 2
    seed: int = 0
    quiet_s: float = 30.0
    good_per_s: float = 2.0


def run(target: Target, rights: Rights, photos: Sequence[bytes], plan: Plan) -> Observed:
    """Plays `plan` against a server with `rights`. Raises `RuntimeError` when an attacker failed."""
    requests = [lens_service_pb2.SearchRequest(photo=photo).SerializeToString() for photo in photos]
    caller = partial(GrantedCaller, credentials=rights.app())
    with Generator(target.address, requests, deadline_s=DEADLINE_S, caller=caller) as good:
        warm(target, rights, good, plan)
        say("quiet")
        quiet = play(good, plan, lambda lasted: lasted >= plan.quiet_s)
        before, first = held_by(target.pid), counters(target)
        with attackers(target, rights, plan, plan.calls, plan.seed) as attacking:
            begun = time.monotonic()

            def over(lasted: float) -> bool:
                rate = attacking.done / (time.monotonic() - begun)
                say(f"{attacking.done:,} of {plan.calls:,} hostile calls, {rate:,.0f} a second")
                return not attacking.running

            attacked = play(good, plan, over)
            ends = attacking.ends()
    after = at_rest(target.pid, before)
    # Its last group of records may still be on its way.
    time.sleep(REST_S)
    return Observed(
        ends,
        (before, after),
        (first, counters(target)),
        quiet,
        attacked,
        repeated(target, rights.audit),
        sum(report.faults for report in verify_log(rights.audit, read_first_key(rights.audit / FIRST_KEY))),
    )


def warm(target: Target, rights: Rights, good: Generator, plan: Plan) -> None:
    """Brings the server to its usual size."""
    say("warming up")
    good.closed_loop(callers=4, seconds=4.0)
    calls = min(MOST_TO_WARM, round(plan.calls * WARM_SHARE) + 100)
    with attackers(target, rights, plan, calls, plan.seed + 1) as attacking:
        attacking.ends()
    good.closed_loop(callers=2, seconds=2.0)
    time.sleep(REST_S)


def attackers(target: Target, rights: Rights, plan: Plan, calls: int, seed: int) -> Attackers:
    return Attackers(target.address, materials(rights), processes=plan.processes, calls=calls, seed=seed)


def play(good: Generator, plan: Plan, over: Callable[[float], bool]) -> list[Run]:
    """Searches at a constant rate, some seconds at a time, until `over` the seconds that have passed."""
    runs: list[Run] = []
    for number in count(1):
        runs.append(good.open_loop(np.arange(0.0, CHUNK_S, 1 / plan.good_per_s).tolist()))
        if over(number * CHUNK_S):
            break
    return runs


def at_rest(pid: int, before: dict[int, Held]) -> dict[int, Held]:
    """The resources of the server's processes once they are well within the bounds, or when the time for it is over."""
    until = time.monotonic() + BACK_WITHIN_S
    while True:
        time.sleep(REST_S)
        after = held_by(pid)
        grown = [growth(before[each], after[each]) for each in before.keys() & after.keys()]
        if all(mb <= GROWN_MB / 2 and fds <= DESCRIPTORS / 2 for mb, fds in grown) or time.monotonic() > until:
            return after


def counters(target: Target) -> Counters:
    """The server's own counts now."""
    now = target.scrape()
    codes: dict[str, float] = {}
    for (name, labels), value in now.samples.items():
        if name == "sightline_requests_total":
            code = dict(labels)["code"]
            codes[code] = codes.get(code, 0.0) + value
    return Counters(
        codes=codes,
        restarts=now.sum("sightline_worker_restarts_total") + now.sum("sightline_engine_restarts_total"),
        audit_failures=now.sum("sightline_audit_failures_total"),
        tracebacks=target.logged("Traceback"),
    )


def repeated(target: Target, audit: Path) -> dict[str, int]:
    """Occurrences of the mark that hostile calls carry, in the log, the metrics and the audit log."""
    metrics = " ".join(f"{name} {labels}" for name, labels in target.scrape().samples)
    files = [path for path in audit.rglob("*") if path.is_file()]
    return {
        "log": target.logged(MARK),
        "metrics": metrics.count(MARK),
        "audit": sum(path.read_bytes().count(MARK.encode()) for path in files),
    }


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)
