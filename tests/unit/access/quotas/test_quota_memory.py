"""Memory that processes share: one count under a race, and a lock that a killed or a frozen process does not keep."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sightline_server.access.quotas.buckets import BUSY
from sightline_server.access.quotas.memory import PATIENCE_S
from sightline_server.access.quotas.quota import CALLS, Quota, Rate
from sightline_server.access.quotas.tables import SharedTables, inherited_tables

WORKERS = 3
RACE = """
import sys
from sightline_server.access.quotas.quota import Quota, Rate
from sightline_server.access.quotas.tables import inherited_tables
tables = inherited_tables(int(sys.argv[1]), workers=3, worker=int(sys.argv[2]))
quota = Quota(calls=Rate(1, 500), concurrent=1000)
print("ready", flush=True)
sys.stdin.readline()
print(sum(not tables.principals.enter(b"app", quota, 1.0).refused_by for _ in range(400)), flush=True)
sys.stdin.readline()
"""
HOLD = """
import sys
from sightline_server.access.quotas.memory import SharedMemory
from sightline_server.access.quotas.tables import memory_size
memory = SharedMemory(int(sys.argv[1]), memory_size(3))
print(memory.lock(int(sys.argv[2])), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def shared() -> Iterator[SharedTables]:
    tables = SharedTables(WORKERS)
    yield tables
    tables.close()


@contextmanager
def process(program: str, shared: SharedTables, argument: int) -> Iterator["subprocess.Popen[str]"]:
    """A process that has inherited the tables, ended with the block."""
    command = [sys.executable, "-c", program, str(shared.descriptor), str(argument)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, pass_fds=[shared.descriptor], text=True, **pipes) as made:  # type: ignore[call-overload]
        try:
            yield made
        finally:
            made.kill()


def said(made: "subprocess.Popen[str]", word: str = "") -> str:
    """The next line of a process, after `word` was sent to it."""
    assert made.stdin is not None and made.stdout is not None
    if word:
        made.stdin.write(f"{word}\n")
        made.stdin.flush()
    return made.stdout.readline().strip()


def test_processes_that_race_for_one_quota_get_it_once_and_their_calls_end_with_them(shared: SharedTables) -> None:
    with process(RACE, shared, 1) as one, process(RACE, shared, 2) as two:
        assert (said(one), said(two)) == ("ready", "ready")
        for each in (one, two):
            assert each.stdin is not None
            each.stdin.write("go\n")
            each.stdin.flush()
        assert int(said(one)) + int(said(two)) == 500
    mine = inherited_tables(os.dup(shared.descriptor), workers=WORKERS, worker=3).principals
    assert mine.enter(b"app", Quota(calls=Rate(1, 500)), 1.0).refused_by == CALLS
    now_open = mine.enter(b"app", Quota(concurrent=1000), 1.0)
    assert mine.inside(now_open.record) == 501
    shared.forget(1)
    shared.forget(2)
    assert mine.inside(now_open.record) == 1


def test_a_lock_ends_with_its_process_and_a_frozen_one_delays_the_others_for_a_moment(
    shared: SharedTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = inherited_tables(os.dup(shared.descriptor), workers=WORKERS, worker=3).principals
    quota = Quota(calls=Rate(60, 100))
    place = mine.place(b"app")
    with process(HOLD, shared, place) as holder:
        assert said(holder) == "True"
        holder.send_signal(signal.SIGSTOP)
        before = time.monotonic()
        refused = mine.enter(b"app", quota, 1.0)
        assert (refused.refused_by, refused.wait_s) == (BUSY, 1.0)
        assert time.monotonic() - before >= PATIENCE_S
        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", slept.append)
        assert mine.enter(b"app", quota, 1.0).refused_by == BUSY
        assert slept == [], "the event loop is not stopped again at once"
        others = (f"other-{number}".encode() for number in range(10))
        other = next(key for key in others if mine.place(key) != place)
        assert mine.enter(other, quota, 1.0).refused_by == "", "only the callers of one set wait"
        holder.kill()
        holder.wait()
    assert mine.enter(b"app", quota, 1.0).refused_by == ""
