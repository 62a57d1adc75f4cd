"""A killed server leaves no process, no shared memory and no folder; those of others stay."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from load_tests.observe.processes import below, living
from sightline_server import owned_names, runtime_folder
from sightline_server.embedded import folders
from sightline_server.process_identity import ProcessIdentity, identity_of
from sightline_server.triton import regions
from tests.support.engine import CHECKOUT, embedded_engine, sightline_home

pytestmark = pytest.mark.engine
GONE_WITHIN_S = 10.0
SERVER = """
import asyncio, sys
from pathlib import Path
from sightline_server.domain.models import EMBEDDER
from sightline_server.embedded.config import EmbeddedConfig
from sightline_server.embedded.host import EmbeddedHost
from sightline_server.triton.config import EngineConfig, NoEvents
from sightline_server.triton.engine import TritonEngine
import numpy as np

async def main():
    host = EmbeddedHost(EmbeddedConfig(Path(sys.argv[1]), Path(sys.argv[2])), NoEvents().provider)
    engine = TritonEngine(host, EngineConfig())
    await engine.start()
    crops = [np.zeros((32, 32, 3), np.uint8)] * 2
    await engine.runner(EMBEDDER).infer({"CROPS": crops}, deadline=None)
    print("started", flush=True)
    while True:
        await engine.runner(EMBEDDER).infer({"CROPS": crops}, deadline=None)

asyncio.run(main())
"""


def test_a_killed_server_leaves_no_process_and_no_memory(tiny_repository: Path) -> None:
    embedded_engine(tiny_repository)
    command = [sys.executable, "-c", SERVER, str(sightline_home()), str(tiny_repository)]
    environment = dict(os.environ, PYTHONPATH=str(CHECKOUT / "server"))
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdout is not None
    with server.stdout:
        assert server.stdout.readline() == "started\n"
        found = below(server.pid)
        processes: list[psutil.Process] = [process for role in found.values() for process in role]
        assert {role: len(those) for role, those in found.items()} == {
            "tritonserver": 1,
            "detector": 1,
            "embedder": 1,
            "other": 1,
        }
        prefix = owned_names.prefix_of(identity_of(server.pid))
        # An engine of somebody else that starts at the same time makes ours unknown, and it stays unmarked.
        marked = [path for path in folders.present() if any(name.startswith(prefix) for name in folders.names(path))]
        used = [path for path in runtime_folder.listed() if path.name.startswith(prefix)]
        assert len(used) == 1
        server.kill()
        server.wait()
    until(lambda: not living(processes) and not regions.listed(prefix) and not any(map(Path.exists, [*marked, *used])))


async def test_orphans_of_dead_servers_are_removed_and_no_others(tiny_repository: Path) -> None:
    dead = subprocess.Popen(["true"])  # noqa: ASYNC220 (it ends at once)
    dead_prefix = owned_names.prefix_of(identity_of(dead.pid))
    dead.wait()
    reused = owned_names.prefix_of(ProcessIdentity(os.getpid(), "1"))
    orphans = [regions.FOLDER / f"{prefix}c0" for prefix in (dead_prefix, reused)]
    mine = regions.FOLDER / f"{owned_names.own_prefix()}kept"
    for path in (*orphans, mine):
        path.write_bytes(b"pixels")
    engine = embedded_engine(tiny_repository, stop_timeout_s=0.5)
    try:
        await engine.start()
        assert [path for path in orphans if path.exists()] == []
        assert mine.exists()
    finally:
        await engine.stop()
        mine.unlink(missing_ok=True)


def until(holds: Callable[[], bool]) -> None:
    """Returns when `holds`, or fails."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
