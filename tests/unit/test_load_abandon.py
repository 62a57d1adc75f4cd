"""Where callers left: no stage is forgotten, the time between two counts for both; the pauses of the warm-up."""

import subprocess
import sys
import time

import psutil

from load_tests.abandon import around, pauses
from sightline_server.telemetry.stopwatch import PLACES


def test_every_place_of_the_server_is_shown() -> None:
    for place in PLACES:
        shown = around({other: int(other == place) for other in PLACES})
        assert sum(shown.values()) >= 1, place


def test_between_two_stages_is_after_the_one_and_before_the_other() -> None:
    shown = around({place: number for number, place in enumerate(PLACES, start=1)})
    left = dict(zip(PLACES, range(1, 100), strict=False))
    assert shown["after crop"] == shown["before embed"] == left["embed", "before"]
    assert shown["after decode"] == left["decode", "after"] + left["detect", "before"]
    assert shown["after search"] == left["rank", "after"]
    assert len(shown) == 15


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
