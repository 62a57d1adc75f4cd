"""A replica without an engine, for drills: the server's own gRPC side over fakes, in a separate process.

`python -m tests.support.light_replica HOST:PORT` serves until SIGTERM, which drains it as `sightline serve` does.
Rule: a search takes `SEARCH_S`, so that calls are inside when the process is killed.
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from load_tests.replicas.envoy import free_ports
from tests.support.lens import Answer, FakeEngine, FakeRunner, serving, two_objects

SEARCH_S = 0.4
GRACE_S = 20.0


class LightReplica:
    """The process as a context manager."""

    def __init__(self) -> None:
        self.target = f"127.0.0.1:{free_ports(1)[0]}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.support.light_replica", self.target]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"serving\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def send_signal(self, number: signal.Signals) -> None:
        """Sends the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)


class SlowRunner(FakeRunner):
    """A model that takes `SEARCH_S`."""

    async def infer(self, inputs: Mapping[str, Sequence[NDArray[Any]]], *, deadline: float | None) -> Answer:
        await asyncio.sleep(SEARCH_S)
        return await super().infer(inputs, deadline=deadline)


def two(parts: Sequence[NDArray[np.uint8]]) -> Answer:
    """Two objects in each image."""
    return two_objects(len(parts))


async def serve(listen: str) -> None:
    """Serves until SIGTERM, then answers what is inside."""
    engine = FakeEngine()
    engine.models["detector"] = SlowRunner(two)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    batching = {"frames": {"slots": 8}, "crops": {"slots": 8}}
    async with serving(engine=engine, server={"listen": listen}, batching=batching) as served:
        print("serving", flush=True)
        await stopped.wait()
        await served.door.close(GRACE_S)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
