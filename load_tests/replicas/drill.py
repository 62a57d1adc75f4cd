"""One case of the drill: two new replicas behind Envoy, load, a fault in the first of them.

The case `stale` has its own module.

Rule: the load is an open loop, so calls go on arriving while a replica does not answer.
"""

import math
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from load_tests.generator import arrivals
from load_tests.generator.photos import Photos
from load_tests.generator.process import Generator
from load_tests.generator.tasks import Due
from load_tests.replicas.envoy import Envoy, running
from load_tests.replicas.judging import Fault, Verdict, judge, read_log

WARM_UP_CALLS = 4
NOTICED_S = 10.0
"""Seconds that the balancer may take to notice before the drill goes on; the bound is shorter."""
SLOWED = "slowed"
CALLS_OF_A_REPORT = 6
STOPPED_S, RUNNING_S = 0.6, 0.15
"""A slowed replica is stopped and continued in turns; health checks get their answer within 1.5 s all the same."""
SIGNALS = {"killed": signal.SIGKILL, "drained": signal.SIGTERM, "frozen": signal.SIGSTOP}


class Replica(Protocol):
    """A server process."""

    target: str

    def send_signal(self, number: signal.Signals) -> None:
        """Sends the process a signal."""


StartReplica = Callable[[], AbstractContextManager[Replica]]


@dataclass(frozen=True, slots=True)
class Load:
    """Calls a second, for how long, and the deadline of each."""

    rate: float
    seconds: float
    deadline_s: float


def drill(case: str, binary: Path, start: StartReplica, photos: Photos, load: Load) -> Verdict:
    """The verdict on one case. Raises what a server, Envoy or the generator raises when it does not start."""
    with tempfile.TemporaryDirectory(prefix="sightline-drill-") as name:
        with ExitStack() as stack:
            replicas = [stack.enter_context(start()) for _ in range(2)]
            envoy = stack.enter_context(
                running(
                    binary,
                    [each.target for each in replicas],
                    Path(name),
                    reports_every_s=reports_s(load) if case == SLOWED else 0,
                )
            )
            generator = stack.enter_context(
                Generator(envoy.target, photos.requests, connections=4, deadline_s=load.deadline_s)
            )
            # Both replicas have answered before the load counts.
            generator.open_loop(arrivals.constant(load.rate, WARM_UP_CALLS / load.rate))
            begun = time.time()
            fault = under_load(case, replicas[0], envoy, generator, len(photos.requests), load)
        # Envoy writes the last lines of its log when it ends.
        calls = read_log(envoy.log.read_text().splitlines())
        return judge([call for call in calls if call.start >= begun], fault)


def reports_s(load: Load) -> int:
    """Seconds between two load reports in which each of two replicas gets several calls."""
    return math.ceil(CALLS_OF_A_REPORT / load.rate)


def under_load(case: str, replica: Replica, envoy: Envoy, generator: Generator, requests: int, load: Load) -> Fault:
    """Sends the load, and makes `replica` fail after a third of it."""
    instants = arrivals.constant(load.rate, load.seconds)
    generator.start([Due(at, place % requests) for place, at in enumerate(instants)])
    time.sleep(load.seconds / 3)
    try:
        with slowed(replica) if case == SLOWED else nullcontext():
            fault = Fault(case, replica.target, time.time(), None) if case == SLOWED else fail(case, replica, envoy)
            generator.finish(load.seconds + load.deadline_s)
    finally:
        # A frozen server could not be stopped.
        with suppress(ProcessLookupError):
            replica.send_signal(signal.SIGCONT)
    return fault


@contextmanager
def slowed(replica: Replica) -> Iterator[None]:
    """Lets `replica` run for a fifth of the time only, for the length of the block."""
    ended = threading.Event()

    def stop_and_go() -> None:
        with suppress(ProcessLookupError):
            while not ended.is_set():
                replica.send_signal(signal.SIGSTOP)
                ended.wait(STOPPED_S)
                replica.send_signal(signal.SIGCONT)
                ended.wait(RUNNING_S)

    thread = threading.Thread(target=stop_and_go, name="slowed")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def fail(case: str, replica: Replica, envoy: Envoy) -> Fault:
    """Makes `replica` fail, and waits until the balancer knows."""
    at = time.time()
    with ThreadPoolExecutor(1) as thread:
        replica.send_signal(SIGNALS[case])
        gone = thread.submit(closed_after_s, replica.target, NOTICED_S) if case == "killed" else None
        detected_s = envoy.wait_until(replica.target, healthy=False, within_s=NOTICED_S)
        return Fault(case, replica.target, at, detected_s, 0.0 if gone is None else gone.result())


def closed_after_s(target: str, within_s: float) -> float:
    """Seconds until HOST:PORT refuses connections: a killed process has closed its connections by then."""
    host, _, port = target.rpartition(":")
    begun = time.monotonic()
    while time.monotonic() - begun < within_s:
        try:
            socket.create_connection((host, int(port)), timeout=1.0).close()
        except OSError:
            break
        time.sleep(0.005)
    return time.monotonic() - begun
