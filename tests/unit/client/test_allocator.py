"""A server's second start without glibc's cache of freed blocks: once, in the same process, and never for ever."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from sightline_console import allocator

pytestmark = pytest.mark.skipif(not allocator.is_glibc(), reason="glibc only")
FREED = """
import ctypes, os
from sightline_server.memory import protect
protect()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
blocks = [library.malloc(ctypes.c_size_t(600)) for _ in range(5)]
for block in blocks:
    ctypes.memset(block, 7, 600)
for block in blocks:
    library.free(ctypes.c_void_p(block))
# A single byte may be that of a block that is in use again.
left = [bytes((ctypes.c_ubyte * 500).from_address(block + 32)) for block in blocks]
print("true" if any(bytes([7]) * 64 in each for each in left) else "false")
"""
SHOW = """
import json, os, signal
if "SIGHTLINE_STARTED_AGAIN" not in os.environ:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    os.dup2(os.open("/dev/null", os.O_RDONLY), 77, inheritable=True)
from sightline_console.allocator import start_again
start_again()
blocked = signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, ())
marked = "SIGHTLINE_STARTED_AGAIN" in os.environ
print(json.dumps([os.getpid(), blocked, os.path.exists("/proc/self/fd/77"), os.environ.get("GLIBC_TUNABLES"), marked]))
"""


class BecameAnother(Exception):  # noqa: N818
    """Raised by a fake of `execve`, which does not return."""


def said(program: str, **variables: str) -> tuple[int, Any]:
    """The process id of `program` and what it prints as JSON."""
    environment = {name: value for name, value in os.environ.items() if name != allocator.VARIABLE}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={**environment, **variables}
    )
    output, _ = process.communicate(timeout=60)
    return process.pid, json.loads(output)


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str], dict[str, str]]]:
    """The programs that this process would have become, with arguments and environment."""
    monkeypatch.setenv(allocator.ARROW_POOL, "system")  # what is set here ends with the test
    calls: list[tuple[str, list[str], dict[str, str]]] = []

    def execve(path: str, words: list[str], environment: dict[str, str]) -> None:
        calls.append((path, words, environment))
        raise BecameAnother

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.delenv(allocator.VARIABLE, raising=False)
    monkeypatch.delenv(allocator.STARTED_AGAIN, raising=False)
    return calls


def test_small_freed_blocks_are_overwritten_only_without_the_cache() -> None:
    assert said(FREED, GLIBC_TUNABLES="glibc.malloc.tcache_count=0")[1] is False
    assert said(FREED)[1] is True


def test_restart_with_tunables_keeps_process_and_descriptors() -> None:
    pid, (own_pid, blocked, opened, tunables, marked) = said(SHOW)
    assert (own_pid, blocked, opened) == (pid, True, True)
    assert (tunables, marked) == ("glibc.malloc.tcache_count=0", False)


def test_other_tunables_stay_and_an_operators_own_wins() -> None:
    assert said(SHOW, GLIBC_TUNABLES="glibc.malloc.check=0")[1][3] == "glibc.malloc.check=0:glibc.malloc.tcache_count=0"
    assert said(SHOW, GLIBC_TUNABLES="glibc.malloc.tcache_count=3")[1][3] == "glibc.malloc.tcache_count=3"


def test_pyarrow_allocates_where_the_rest_does_and_an_operators_own_pool_wins() -> None:
    program = """
import json
from sightline_console.allocator import start_again
start_again()
import pyarrow
print(json.dumps(pyarrow.default_memory_pool().backend_name))
"""
    left = {name: value for name, value in os.environ.items() if name != allocator.ARROW_POOL}
    for variables, expected in (({}, "system"), ({allocator.ARROW_POOL: "mimalloc"}, "mimalloc")):
        output = subprocess.check_output([sys.executable, "-c", program], env={**left, **variables})
        assert json.loads(output) == expected


def test_the_same_command_is_executed(executed: list[tuple[str, list[str], dict[str, str]]]) -> None:
    with pytest.raises(BecameAnother):
        allocator.start_again()
    [(path, words, environment)] = executed
    assert (path, words) == (sys.executable, sys.orig_argv)
    assert environment == {
        **os.environ,
        allocator.VARIABLE: f"{allocator.TUNABLE}=0",
        allocator.STARTED_AGAIN: str(os.getpid()),
    }


def test_a_process_whose_tunables_are_removed_does_not_start_for_ever(
    executed: list[tuple[str, list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader removes them from programs that have capabilities."""
    monkeypatch.setenv(allocator.STARTED_AGAIN, str(os.getpid()))
    allocator.start_again()
    assert (executed, allocator.STARTED_AGAIN in os.environ) == ([], False)


def test_the_mark_of_another_process_does_not_count(
    executed: list[tuple[str, list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(allocator.STARTED_AGAIN, "1")
    with pytest.raises(BecameAnother):
        allocator.start_again()


@pytest.mark.parametrize("broken", ["another C library", "no interpreter", "exec is forbidden"])
def test_what_cannot_be_done_keeps_no_server_from_starting(
    broken: str, executed: list[tuple[str, list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    if broken == "another C library":
        monkeypatch.setattr(os, "confstr", lambda name: None)
    elif broken == "no interpreter":
        monkeypatch.setattr(sys, "executable", "")
    else:
        monkeypatch.setattr(os, "execve", forbidden)
    allocator.start_again()
    assert executed == []
