"""A machine that freezes: `python -m load_tests.standstill --catalog DIR [--stops 9] [--stopped-s 3]`.

Keeps its own server busy in a closed loop, and now and then stops it with its engine (SIGSTOP) and lets all of
them go on, as a host does that takes the machine away for a while. Prints one JSON object on the last line: what became
of the calls, and how often the engine was restarted, which must be never.
Rule: the engine goes on before the server, whose watch would otherwise find it stopped, as no watch does on a machine
that freezes as a whole.
"""

import argparse
import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from load_tests.generator.photos import SHOWROOM, read_photos
from load_tests.generator.process import Generator
from load_tests.observe.processes import below
from load_tests.observe.scrapes import Between, scrape
from sightline_client.local_server import LocalServer

CALL_DEADLINE_S = 15.0
"""A call that a stop delays is to be seen through."""
WARM_UP_S = 3.0
GAP_S = 3.0
"""From one stop to the next at least; a random second is added, so that stops meet every moment of a batch."""

PAUSE_S, BETWEEN_PAUSES_S = 0.03, 0.05
"""As long as a busy host may keep a core from us, and rarely enough that the server keeps up."""


def main() -> int:
    """Measures and prints; returns 1 when the engine was restarted or a call failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, required=True, help="catalog to serve")
    parser.add_argument("--photos", type=Path, default=SHOWROOM, help="folder of JPEG photos")
    parser.add_argument("--stops", type=int, default=9, help="how often the machine freezes")
    parser.add_argument("--stopped-s", type=float, default=3.0, help="how long, in seconds")
    parser.add_argument("--behind-s", type=float, default=0.0, help="how much later the stubs go on than Triton")
    parser.add_argument("--callers", type=int, default=0, help="calls under way; 0: four for each core")
    arguments = parser.parse_args()
    photos = read_photos(arguments.photos)
    callers = arguments.callers or 4 * (os.cpu_count() or 1)
    with (
        LocalServer(catalog=arguments.catalog) as server,
        Generator(server.target, photos.requests, deadline_s=CALL_DEADLINE_S) as generator,
    ):
        generator.closed_loop(callers=callers, seconds=WARM_UP_S)
        before = scrape(server.metrics_url)
        stops = Stops(server.pid, arguments.stops, arguments.stopped_s, arguments.behind_s)
        stops.start()
        run = generator.closed_loop(callers=callers, seconds=arguments.stops * (GAP_S + 0.5 + arguments.stopped_s))
        stops.join()
        restarts = Between(before, scrape(server.metrics_url)).grown("sightline_engine_restarts_total")
    figures = {"stops": stops.made, "stopped_s": arguments.stopped_s, "engine_restarts": restarts, "codes": run.codes}
    print(json.dumps(figures))
    return 0 if not restarts and set(run.codes) <= {"OK", "RESOURCE_EXHAUSTED"} else 1


class Stops(threading.Thread):
    """Stops the server `pid` and its engine `count` times."""

    def __init__(self, pid: int, count: int, stopped_s: float, behind_s: float) -> None:
        super().__init__(daemon=True)
        self.made = 0
        self._server = psutil.Process(pid)
        self._count = count
        self._stopped_s = stopped_s
        self._behind_s = behind_s
        self._random = random.Random(1)

    def run(self) -> None:
        """One stop after the other, with some seconds between them."""
        while self.made < self._count:
            time.sleep(GAP_S + self._random.random())
            # An engine that is just being restarted is another one a moment later; its stop comes then.
            with suppress(psutil.NoSuchProcess):
                self._stop_once()
                self.made += 1
                print(f"stop {self.made} of {self._count}", file=sys.stderr, flush=True)

    def _stop_once(self) -> None:
        found = below(self._server.pid)
        triton, stubs = found["tritonserver"], found["detector"] + found["embedder"]
        stopped: list[psutil.Process] = []
        try:
            for process in (self._server, *triton, *stubs):
                process.suspend()
                stopped.append(process)
            time.sleep(self._stopped_s)
            for process in triton:
                process.resume()
            time.sleep(self._behind_s)
        finally:
            for process in reversed(stopped):
                with suppress(psutil.NoSuchProcess):
                    process.resume()


@contextmanager
def pauses(pid: int | None) -> Iterator[None]:
    """Stops process `pid` for a moment, again and again, as a busy host does; for None nothing happens."""
    if pid is None:
        yield
        return
    process, ended = psutil.Process(pid), threading.Event()

    def pause() -> None:
        with suppress(psutil.NoSuchProcess):
            while not ended.wait(BETWEEN_PAUSES_S):
                process.suspend()
                try:
                    ended.wait(PAUSE_S)
                finally:
                    process.resume()

    thread = threading.Thread(target=pause, name="pauses", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
