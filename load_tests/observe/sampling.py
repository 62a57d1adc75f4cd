"""Samples a server and its processes during a run.

Rule: from outside, by `/metrics` and `/proc`; the server does not notice the samples.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from load_tests.generator.process import Generator
from load_tests.observe.holdings import Watch
from load_tests.observe.machine import quiet, read_cpu
from load_tests.observe.pace import Pace, look_at_pace
from load_tests.observe.scrapes import Scrape, scrape

SETTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Server:
    """The target of the calls. `pid` is 0 for a server that cannot be sampled."""

    target: str
    metrics_url: str
    pid: int = 0


@dataclass(slots=True)
class Seen:
    """The samples of a run."""

    scrapes: list[Scrape] = field(default_factory=list)
    paces: list[Pace] = field(default_factory=list)
    watch: Watch | None = None
    quiet: dict[str, float] = field(default_factory=dict)


@contextmanager
def observed(server: Server, generator: Generator, seconds: float) -> Iterator[Seen]:
    """Scrapes and samples the processes about 120 times during the block, but not more than once a second."""
    every_s = max(1.0, seconds / 120)
    seen = Seen()
    over = Event()

    def follow() -> None:
        while True:
            seen.scrapes.append(scrape(server.metrics_url))
            seen.paces.append(look_at_pace())
            if over.wait(every_s):
                seen.scrapes.append(scrape(server.metrics_url))
                return

    follower = Thread(target=follow, name="scrapes", daemon=True)
    pids = [generator.pid, *([server.pid] if server.pid else [])]
    before = read_cpu(*pids)
    follower.start()
    try:
        if server.pid:
            with Watch(server.pid, generator.pid, every_s) as seen.watch:
                yield seen
        else:
            yield seen
    finally:
        over.set()
        follower.join()
        seen.quiet = quiet(before, read_cpu(*pids))


def settle(metrics_url: str) -> None:
    """Waits until nothing is in flight, or `SETTLE_S` have passed."""
    until = time.monotonic() + SETTLE_S
    while time.monotonic() < until and scrape(metrics_url).sum("sightline_in_flight") > 0:
        time.sleep(0.1)
