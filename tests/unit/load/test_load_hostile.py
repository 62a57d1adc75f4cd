"""Hostile calls: how they are made, how their answers are read, and how a run is judged."""

import dataclasses
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from load_tests.generator.records import CODES, Run
from load_tests.guarded.rights import Rights
from load_tests.hostile.attacker import Ends, header_of, is_ours
from load_tests.hostile.call import CONTINUATION, call, encoded, integer
from load_tests.hostile.judging import DESCRIPTORS, GROWN_MB, Counters, Held, Observed, bounds, served, summary
from load_tests.hostile.materials import Materials, materials
from load_tests.hostile.mix import Mix
from load_tests.observe.holdings import MEGABYTE, Holding


def run(latencies_s: list[float], codes: list[str] | None = None) -> Run:
    """Searches that begin at 1 s."""
    count, start = len(latencies_s), np.full(len(latencies_s), 1.0)
    return Run(
        intended=start,
        sent=start,
        accepted=start,
        detected=start,
        first=start,
        ended=start + latencies_s,
        code=np.array([CODES.index(code) for code in codes or ["OK"] * count]),
        objects=np.full(count, 1),
        failures=np.zeros(count, np.int64),
        request=np.arange(count),
        slow=np.zeros(count, np.int64),
    )


def held(rss_mb: float, descriptors: int = 10) -> Held:
    return Held("worker", Holding(round(rss_mb * MEGABYTE), descriptors, 5, 1.0))


QUIET = Counters({"OK": 5.0, "INTERNAL": 1.0}, 2.0, 0.0, 0)
GOOD = Observed(
    ends=Ends(calls=10),
    processes=({1: held(100), 2: held(50)}, {1: held(110), 2: held(40), 3: held(900)}),
    counters=(QUIET, QUIET),
    quiet=[run([0.1, 0.1])],
    attacked=[run([0.1, 0.2])],
    repeated={"log": 0},
    audit_faults=0,
)


def broken(**changes: object) -> list[str]:
    """The bounds that a run with these changes breaks."""
    return [bound.name for bound in bounds(dataclasses.replace(GOOD, **changes)) if not bound.kept]  # type: ignore[arg-type]


def test_a_run_within_its_bounds_is_kept() -> None:
    assert broken() == []
    assert summary(GOOD, bounds(GOOD))["kept"] is True


BROKEN: dict[str, tuple[dict[str, object], str]] = {
    "a worker ended": ({"processes": ({1: held(1), 2: held(1)}, {1: held(1)})}, "processes that ended"),
    "memory": ({"processes": ({1: held(1)}, {1: held(2 + GROWN_MB)})}, "MB of memory more in a process"),
    "descriptors": (
        {"processes": ({1: held(1, 3)}, {1: held(1, 4 + DESCRIPTORS)})},
        "descriptors more in a process",
    ),
    "restart": ({"counters": (QUIET, dataclasses.replace(QUIET, restarts=3.0))}, "restarts of workers and engine"),
    "INTERNAL": (
        {"counters": (QUIET, dataclasses.replace(QUIET, codes={"INTERNAL": 2.0}))},
        "calls that ended with INTERNAL",
    ),
    "UNKNOWN": (
        {"counters": (QUIET, dataclasses.replace(QUIET, codes={"INTERNAL": 1.0, "UNKNOWN": 1.0}))},
        "calls that ended with UNKNOWN",
    ),
    "traceback": ({"counters": (QUIET, dataclasses.replace(QUIET, tracebacks=1))}, "tracebacks"),
    "audit": (
        {"counters": (QUIET, dataclasses.replace(QUIET, audit_failures=1.0))},
        "audit records that were not written",
    ),
    "audit chain": ({"audit_faults": 1}, "faults in the audit log"),
    "bytes in the log": ({"repeated": {"log": 1}}, "bytes of calls in log, metrics, audit or answers"),
    "bytes in an answer": ({"ends": Ends(repeated=1)}, "bytes of calls in log, metrics, audit or answers"),
    "a good search failed": ({"attacked": [run([0.1, 0.1], ["OK", "INTERNAL"])]}, "good searches that failed"),
    "good searches refused": (
        {"attacked": [run([0.1] * 9 + [0.0], ["OK"] * 9 + ["RESOURCE_EXHAUSTED"])]},
        "share of good searches that were refused",
    ),
    "slower": ({"attacked": [run([0.1, 0.4])]}, "times the good caller's quiet p99"),
}


@pytest.mark.parametrize(("changes", "bound"), BROKEN.values(), ids=BROKEN)
def test_a_broken_bound_is_named(changes: dict[str, object], bound: str) -> None:
    assert broken(**changes) == [bound]


def test_blame_counts_where_the_answer_is_ours() -> None:
    ends = Ends()
    ends.blaming["gRPC: head: another te: 13 Error parsing"] = 3
    assert broken(ends=ends) == []
    ends.blaming["ours: body: random: 13 internal error"] = 1
    assert broken(ends=ends) == ["answers of ours with INTERNAL or UNKNOWN"]


def test_calls_without_an_answer_break_a_bound() -> None:
    ends = Ends()
    ends.unanswered["body: random"] = 1
    assert broken(ends=ends) == ["calls without an answer"]


def test_the_searches_of_several_runs_are_judged_together() -> None:
    good = served([run([0.1, 0.2]), run([0.3], ["UNAVAILABLE"]), run([0.4], ["NOT_FOUND"])])
    assert (good.calls, good.p50_ms, good.failed) == (4, 150.0, 1)
    assert good.refused_share == 0.25


def test_no_good_search_at_all_breaks_the_bound_of_the_good_caller() -> None:
    assert "times the good caller's quiet p99" in broken(attacked=[run([0.1], ["UNAVAILABLE"])])


def test_headers_of_answers_are_read() -> None:
    block = b"\x20" + encoded(b"grpc-status", b"13") + encoded(b"grpc-message", b"internal")
    assert (header_of(block, b"grpc-status"), header_of(block, b"grpc-message")) == (b"13", b"internal")
    assert header_of(block, b"grpc-other") == b""
    assert not is_ours(block)
    assert is_ours(block + encoded(b"grpc-status-details-bin", b"AAAA"))


@pytest.mark.parametrize(("number", "bytes_"), [(5, b"\x05"), (127, b"\x7f\x00"), (1337, b"\x7f\xba\x09")])
def test_lengths_are_those_of_hpack(number: int, bytes_: bytes) -> None:
    assert integer(number) == bytes_


def test_headers_beyond_a_frame_go_on_in_another() -> None:
    kinds = []
    sent = call("large", (b"x", b"y" * 40_000)).frames(1)
    while sent:
        size = int.from_bytes(sent[:3], "big")
        kinds.append(sent[3])
        sent = sent[9 + size :]
    assert kinds == [1, CONTINUATION, CONTINUATION, 0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Materials:
    return materials(Rights(tmp_path_factory.mktemp("rights")))


def test_equal_seeds_make_equal_calls(made: Materials) -> None:
    first, again, other = (list(islice(Mix(made, seed).calls(), 200)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_mix_has_calls_of_every_group_and_kind_of_connection(made: Materials) -> None:
    mix = Mix(made, 3)
    groups = {each.kind.partition(":")[0] for each in islice(mix.calls(), 2000)}
    assert groups == {"token", "key", "grant", "method", "metadata", "head", "body", "frame", "tier", "reset"}
    assert len({mix.raw().kind for _ in range(1000)}) > 30


def test_the_server_of_a_run_needs_a_grant_and_has_an_audit_log(tmp_path: Path) -> None:
    variables = Rights(tmp_path).variables
    assert variables["SIGHTLINE_CONSENT__MODE"] == "required"
    assert variables["SIGHTLINE_AUDIT__FOLDER"] == str(tmp_path / "audit")
    assert (tmp_path / "policy.toml").read_text().count("[principals.") == 3
