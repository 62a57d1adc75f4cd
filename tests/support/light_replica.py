"""A replica without an engine, for drills: the server's own gRPC side over fakes, in a separate process.

`python -m tests.support.light_replica HOST:PORT HOST:METRICS_PORT [SHARE COPY]` serves until SIGTERM, which drains it
as `sightline serve` does. With SHARE it follows that folder by the server's own parts.
Rule: a search takes `SEARCH_S`, so that calls are inside when the process is killed.
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from load_tests.replicas.envoy import free_ports
from sightline_server.app.following import fetch_missing, keep_following
from sightline_server.app.following_operations import FollowedCatalogs
from sightline_server.app.metrics_page import start_metrics
from sightline_server.app.reload import CatalogReloader, RegistryShelf
from sightline_server.index.choice.choosing import DEFAULT_POLICY
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import open_snapshot
from sightline_server.settings import Settings
from tests.support.lens import Answer, FakeEngine, FakeRunner, Served, serving, two_objects

SEARCH_S = 0.4
GRACE_S = 20.0


class LightReplica:
    """The process as a context manager; it follows `source` with its copy in `copy` where they are given."""

    def __init__(self, source: Path | None = None, copy: Path | None = None) -> None:
        port, metrics_port = free_ports(2)
        self.target = f"127.0.0.1:{port}"
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        self._arguments = [self.target, f"127.0.0.1:{metrics_port}", *map(str, (source, copy) if source else ())]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.support.light_replica", *self._arguments]
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


async def serve(listen: str, metrics_listen: str, source: str = "", copy: str = "") -> None:
    """Serves until SIGTERM, then answers what is inside."""
    engine = FakeEngine()
    engine.models["detector"] = SlowRunner(two)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    batching = {"frames": {"slots": 8}, "crops": {"slots": 8}}
    server = {"listen": listen, "metrics_listen": metrics_listen, "load_reports": True}
    followed = {"default": {"path": copy, "follow": source}} if source else {}
    settings = Settings.model_validate({"catalogs": followed, "server": server})
    async with AsyncExitStack() as stack:
        device = DeviceThread()
        stack.callback(device.close)
        await fetch_missing(settings)
        index = await open_snapshot(Path(copy), "default", engine.embedders, device) if source else None
        served = await stack.enter_async_context(
            serving(engine=engine, index=index, server=server, batching=batching, catalogs=followed)
        )
        start_metrics(stack, settings.server, served.metrics.registry)
        if source:
            await follow(stack, settings, served, device)
        print("serving", flush=True)
        await stopped.wait()
        await served.door.close(GRACE_S)


async def follow(stack: AsyncExitStack, settings: Settings, served: Served, device: DeviceThread) -> None:
    """Follows as `app/serving.py` does."""
    embedders, registry, series = served.core.engine.embedders, served.core.registry, served.metrics.replication
    folders = settings.catalog_folders
    followed = FollowedCatalogs(folders, settings.followed_catalogs, DEFAULT_POLICY, series)
    await followed.publish(registry, device, embedders)
    shelf = RegistryShelf(folders, registry, device, embedders, followed=followed)
    reloader = CatalogReloader(shelf, served.core.catalog_metrics)
    keep_following(stack, settings, embedders, series, reloader.reload, operations=followed.followers)
    followed.keep_following(stack)


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
