"""Pauses: a process is stopped for moments, and never left stopped."""

import subprocess
import sys
import time

import psutil

from load_tests.standstill import pauses


def test_a_process_stands_still_for_moments_and_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = psutil.Process(child.pid)
        seen = set()
        with pauses(child.pid):
            until = time.monotonic() + 10.0
            while time.monotonic() < until and psutil.STATUS_STOPPED not in seen:
                seen.add(process.status())
        assert psutil.STATUS_STOPPED in seen
        assert process.status() != psutil.STATUS_STOPPED
        child.communicate(b"\n", timeout=20)
        assert child.returncode == 0


def test_pauses_of_a_process_that_ended_harm_nobody() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child, pauses(child.pid):
        child.wait(timeout=20)
    assert child.returncode == 0
