"""The waits of calls in Triton's own queue: calls that come close together, with and without a queue policy.

    python -m load_tests.direct.engine_waits [--rounds N] [--busy N]
Rule: the embedded engine with the tests' tiny models, so that a wait of half a second cannot be work. `--busy`
processes use a core each meanwhile, at a lower priority. Prints one JSON object for each configuration and arrival:
milliseconds.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sightline_server.domain.models import EMBEDDER
from sightline_server.ports import ModelRunner
from tests.support.engine import embedded_engine
from tests.support.tiny_models import EMBEDDER_SIZE, build_repository

QUEUE = "max_queue_delay_microseconds: 0"
POLICY = f"{QUEUE} default_queue_policy {{ allow_timeout_override: true default_timeout_microseconds: 60000000 }}"
CONFIGURATIONS = {"no policy": QUEUE, "queue policy": POLICY}
APART_S = 0.004
"""The calls of a pair begin at most so far apart."""
AT_ONCE = 8
WAITED_MS = 400.0
PATIENCE_S = 20.0


async def one_call(runner: ModelRunner, images: int, after_s: float = 0.0) -> float:
    """The milliseconds of one call with so many images, which begins in `after_s` seconds."""
    await asyncio.sleep(after_s)
    crops = list(np.zeros((images, EMBEDDER_SIZE, EMBEDDER_SIZE, 3), np.uint8))
    begun = time.perf_counter()
    await runner.infer({"CROPS": crops}, deadline=time.monotonic() + PATIENCE_S)
    return 1e3 * (time.perf_counter() - begun)


async def in_pairs(runner: ModelRunner, apart_s: float) -> list[float]:
    """Two calls, the second one `apart_s` after the first."""
    return list(await asyncio.gather(one_call(runner, 2), one_call(runner, 2, apart_s)))


async def at_once(runner: ModelRunner, apart_s: float) -> list[float]:
    """`AT_ONCE` calls of 1 to `AT_ONCE` images."""
    return await asyncio.gather(*(one_call(runner, 1 + number) for number in range(AT_ONCE)))


ARRIVALS: dict[str, Callable[[ModelRunner, float], Awaitable[list[float]]]] = {"pairs": in_pairs, "at once": at_once}


async def measured(configuration: str, rounds: int) -> None:
    """Prints the figures of one configuration."""
    with tempfile.TemporaryDirectory() as folder:
        repository = build_repository(Path(folder) / "models")
        for path in repository.glob("*/config.pbtxt"):
            path.write_text(path.read_text().replace(QUEUE, CONFIGURATIONS[configuration]))
        engine = embedded_engine(repository)
        await engine.start()
        try:
            for name, arrival in ARRIVALS.items():
                random = np.random.default_rng(1)
                taken = [
                    each
                    for _ in range(rounds)
                    for each in await arrival(engine.runner(EMBEDDER), random.random() * APART_S)
                ]
                print(json.dumps({"configuration": configuration, "arrival": name, **figures(taken)}), flush=True)
        finally:
            await engine.stop()


def figures(taken: Sequence[float]) -> dict[str, float]:
    """Milliseconds at some percentiles, and the number of calls that waited."""
    p50, p99, most = (round(float(np.percentile(taken, each)), 1) for each in (50, 99, 100))
    waited = sum(each > WAITED_MS for each in taken)
    return {"calls": len(taken), "p50_ms": p50, "p99_ms": p99, "max_ms": most, "over_400_ms": waited}


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that use a core each, at nice +10."""
    program = "import os\nos.nice(10)\nwhile True: pass"
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    """Measures both configurations, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="pairs, and groups of calls at once (default 200)")
    parser.add_argument("--busy", type=int, default=1, help="processes that use a core each (default 1)")
    chosen = parser.parse_args()
    with busy(chosen.busy):
        for configuration in CONFIGURATIONS:
            asyncio.run(measured(configuration, chosen.rounds))


if __name__ == "__main__":
    main()
