"""Debian's strace for tests: what a command and all that it starts ask of the network, and which files they write.

It is not a Python package, so the tests that need it are skipped where it is missing, with the reason, unless
SIGHTLINE_REQUIRE_STRACE is set, as our own CI does.
"""

import functools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

NETWORK = ("connect", "sendto", "sendmsg", "sendmmsg", "bind")
OPENING = ("open", "openat", "openat2", "creat")
CHANGING = (
    *("mkdir", "mkdirat", "mknod", "mknodat", "rename", "renameat", "renameat2", "link", "linkat"),
    *("symlink", "symlinkat", "unlink", "unlinkat", "rmdir", "truncate"),
)
UNSEEN = "io_uring_setup"
"""A ring would send and write without any call that strace shows."""


def program() -> str:
    """The path of strace. Skips the test where there is none that may trace; fails it where strace is required."""
    found = shutil.which("strace")
    if found is not None and may_trace(found):
        return found
    missing = "this machine does not let strace trace" if found else "no strace on PATH: run scripts/strace.sh"
    if os.environ.get("SIGHTLINE_REQUIRE_STRACE"):
        pytest.fail(missing)
    pytest.skip(missing)


@functools.cache
def may_trace(found: str) -> bool:
    """Returns whether a process may be traced here; some containers forbid it."""
    command = [found, "-f", "--seccomp-bpf", "-qq", "-e", "trace=none", "-o", os.devnull, "true"]
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


def traced(command: list[str], folder: Path) -> list[str]:
    """`command` under strace, which writes a file for each thread into `folder`. Exit codes are the command's own."""
    folder.mkdir(parents=True, exist_ok=True)
    # A question mark: not every architecture has every call.
    calls = ",".join(f"?{name}" for name in (*NETWORK, *OPENING, *CHANGING, UNSEEN))
    options = ["-ff", "--seccomp-bpf", "-qq", "-y", "-s", "64", "-e", f"trace={calls}", "-e", "signal=none"]
    return [program(), *options, "-o", str(folder / "thread"), "--", *command]


def lines(folder: Path) -> list[str]:
    """Every call of every thread that was traced into `folder`. Raises `AssertionError` when there is none."""
    found = [line for each in sorted(folder.iterdir()) for line in each.read_text(errors="replace").splitlines()]
    assert found, f"strace wrote nothing into {folder}"
    return found
