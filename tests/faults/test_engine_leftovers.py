"""A killed server leaves no process, no shared memory and no folder; those of others stay."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from load_tests.processes import below, living
from sightline_server.process_identity import ProcessIdentity, identity_of
from sightline_server.triton import folders, regions, runtime
from sightline_server.triton.engine import make_engine
from tests.support.embedded import tiny_repository
from tests.support.engine import CHECKOUT, embedded_config

__all__ = ["tiny_repository"]
pytestmark = pytest.mark.engine
GONE_WITHIN_S = 10.0
SERVER = """
import asyncio, sys
from pathlib import Path
from sightline_server.triton.config import EngineConfig
from sightline_server.triton.engine import make_engine
import numpy as np

async def main():
    engine = make_engine(EngineConfig(home=Path(sys.argv[1]), repository=Path(sys.argv[2])))
    await engine.start()
    crops = [np.zeros((32, 32, 3), np.uint8)] * 2
    await engine.runner("embedder").infer(crops, deadline=None)
    print("started", flush=True)
    while True:
        await engine.runner("embedder").infer(crops, deadline=None)

asyncio.run(main())
"""


def test_a_killed_server_leaves_no_process_and_no_memory(tiny_repository: Path) -> None:
    config = embedded_config(tiny_repository)
    command = [sys.executable, "-c", SERVER, str(config.home), str(config.repository)]
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
        prefix = regions.prefix_of(identity_of(server.pid))
        # An engine of somebody else that starts at the same time makes ours unknown, and it stays unmarked.
        marked = [path for path in folders.present() if any(name.startswith(prefix) for name in folders.names(path))]
        used = [path for path in runtime.listed() if path.name.startswith(prefix)]
        assert len(used) == 1
        server.kill()
        server.wait()
    until(lambda: not living(processes) and not regions.listed(prefix) and not any(map(Path.exists, [*marked, *used])))


async def test_orphans_of_dead_servers_are_removed_and_no_others(tiny_repository: Path) -> None:
    dead = subprocess.Popen(["true"])  # noqa: ASYNC220 (it ends at once)
    dead_prefix = regions.prefix_of(identity_of(dead.pid))
    dead.wait()
    reused = regions.prefix_of(ProcessIdentity(os.getpid(), "1"))
    orphans = [regions.FOLDER / f"{prefix}c0" for prefix in (dead_prefix, reused)]
    mine = regions.FOLDER / f"{regions.own_prefix()}kept"
    for path in (*orphans, mine):
        path.write_bytes(b"pixels")
    engine = make_engine(embedded_config(tiny_repository, stop_timeout_s=0.5))
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
