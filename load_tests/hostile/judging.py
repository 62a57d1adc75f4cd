"""The figures of a run of hostile calls, and the bounds that they must keep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from load_tests.attacks.frame import RETRIED, Bound
from load_tests.generator.records import Run, milliseconds
from load_tests.hostile.attacker import Ends, blamed
from load_tests.observe.holdings import MEGABYTE, Holding, hold

SLOWER = 2.0
"""Factor by which a good caller's p99 may be slower than without hostile calls."""
GROWN_MB = 64.0
"""MB that a process may hold more afterwards: its allocator's free pages, and remembered tokens, grants and addresses,
each of which is bounded by itself."""
DESCRIPTORS = 8
"""Descriptors that a process may hold more afterwards, such as a file of the audit log."""
REFUSED_SHARE = 0.01
"""Share of the good caller's searches that may be refused with an error that it should retry."""


@dataclass(frozen=True, slots=True)
class Held:
    """A process at one instant: its role, and what it holds."""

    role: str
    holding: Holding


def held_by(server: int) -> dict[int, Held]:
    """The processes of a server by their ids; empty when it has ended."""
    found: dict[int, Held] = {}
    try:
        family = [psutil.Process(server), *psutil.Process(server).children(recursive=True)]
    except psutil.NoSuchProcess:
        return found
    for process in family:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = Held("server" if process.pid == server else role_of(process), hold(process))
        except (psutil.Error, OSError):
            continue
    return found


def role_of(process: psutil.Process) -> str:
    """The name of a process: that of its Python module, else that of its program."""
    words = process.cmdline()
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1].rpartition(".")[2]
    return Path(words[0]).name if words else process.name()


@dataclass(frozen=True, slots=True)
class Counters:
    """The server's own counts: its calls by code, restarts, audit failures, and tracebacks in its log."""

    codes: Mapping[str, float]
    restarts: float
    audit_failures: float
    tracebacks: int


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that was observed in a run."""

    ends: Ends
    processes: tuple[Mapping[int, Held], Mapping[int, Held]]
    """Before and after."""
    counters: tuple[Counters, Counters]
    quiet: Sequence[Run]
    attacked: Sequence[Run]
    repeated: Mapping[str, int]
    """Occurrences of bytes of calls in the log, the metrics and the audit log."""
    audit_faults: int


def bounds(seen: Observed) -> list[Bound]:
    """Each figure with the most that it may be."""
    before, after = seen.processes
    first, last = seen.counters
    grown = [growth(before[pid], after[pid]) for pid in before.keys() & after.keys()]
    good = served(seen.attacked)
    return [
        Bound("processes that ended", len(before.keys() - after.keys()), 0),
        Bound("restarts of workers and engine", last.restarts - first.restarts, 0),
        Bound("calls that ended with INTERNAL", last.codes.get("INTERNAL", 0) - first.codes.get("INTERNAL", 0), 0),
        Bound("calls that ended with UNKNOWN", last.codes.get("UNKNOWN", 0) - first.codes.get("UNKNOWN", 0), 0),
        Bound("answers of ours with INTERNAL or UNKNOWN", blamed(seen.ends), 0),
        Bound("tracebacks", last.tracebacks - first.tracebacks, 0),
        Bound("calls without an answer", seen.ends.unanswered.total(), 0),
        Bound("bytes of calls in log, metrics, audit or answers", sum(seen.repeated.values()) + seen.ends.repeated, 0),
        Bound("audit records that were not written", last.audit_failures - first.audit_failures, 0),
        Bound("faults in the audit log", seen.audit_faults, 0),
        Bound("MB of memory more in a process", max((mb for mb, _ in grown), default=float("inf")), GROWN_MB),
        Bound("descriptors more in a process", max((fds for _, fds in grown), default=float("inf")), DESCRIPTORS),
        Bound("good searches that failed", good.failed, 0),
        Bound("share of good searches that were refused", good.refused_share, REFUSED_SHARE),
        Bound("times the good caller's quiet p99", good.p99_ms / served(seen.quiet).p99_ms, SLOWER),
    ]


def growth(before: Held, after: Held) -> tuple[float, int]:
    """MB of resident memory and descriptors that a process holds more than before."""
    mb = (after.holding.rss - before.holding.rss) / MEGABYTE
    return mb, after.holding.descriptors - before.holding.descriptors


@dataclass(frozen=True, slots=True)
class Good:
    """The searches of the good caller: how many, milliseconds of those that succeeded, and the others."""

    calls: int
    p50_ms: float
    p99_ms: float
    refused_share: float
    failed: int


def served(runs: Sequence[Run]) -> Good:
    """The searches of all `runs` together."""
    latency = np.concatenate([run.latency_s[run.of("OK")] for run in runs]) if runs else np.empty(0)
    calls = sum(len(run.code) for run in runs)
    refused = sum(int(run.of(code).sum()) for run in runs for code in RETRIED)
    p99_ms = milliseconds(latency, 99) if len(latency) else float("inf")
    return Good(
        calls, milliseconds(latency, 50), p99_ms, refused / calls if calls else 0.0, calls - len(latency) - refused
    )


def summary(seen: Observed, found: Sequence[Bound]) -> dict[str, Any]:
    """The run as one JSON object."""
    before, after = seen.processes
    return {
        "kept": all(bound.kept for bound in found),
        "calls": seen.ends.calls,
        "bounds": {bound.name: [round(bound.measured, 4), bound.at_most] for bound in found},
        "ends": dict(seen.ends.by_end.most_common()),
        "codes": {
            code: count - seen.counters[0].codes.get(code, 0)
            for code, count in sorted(seen.counters[1].codes.items())
            if count > seen.counters[0].codes.get(code, 0)
        },
        "blaming": dict(seen.ends.blaming.most_common(20)),
        "unanswered": dict(seen.ends.unanswered.most_common(20)),
        "repeated": dict(seen.repeated),
        "good_ms": {
            name: {"calls": good.calls, "p50": good.p50_ms, "p99": good.p99_ms}
            for name, good in (("quiet", served(seen.quiet)), ("attacked", served(seen.attacked)))
        },
        "processes": [
            {
                "role": each.role,
                "rss_mb": [round(each.holding.rss / MEGABYTE, 1), round(after[pid].holding.rss / MEGABYTE, 1)],
                "descriptors": [each.holding.descriptors, after[pid].holding.descriptors],
            }
            for pid, each in before.items()
            if pid in after
        ],
    }
