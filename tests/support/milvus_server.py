"""The real Milvus 2.3.5 of the package index for tests, on a free port of loopback; one for a session.

It runs in a separate network namespace (`milvus_namespace.py`), because it would listen on every interface. Its tests
take minutes, because a push takes eight seconds: they run where SIGHTLINE_REQUIRE_MILVUS is set, as `make test-milvus`
and `make test-milvus-short` do, and are skipped elsewhere and say so. `.ci/run` makes the second one.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.relay import relayed

REQUIRED = "SIGHTLINE_REQUIRE_MILVUS"
START_S = 90.0
ROOT = Path(__file__).parents[2]


def why_not() -> str:
    """The reason for which Milvus cannot run here; empty where it can."""
    if importlib.util.find_spec("milvus") is None:
        return "the package milvus, with the Milvus server, is not installed"
    if shutil.which("unshare") is None:
        return "unshare of util-linux is not installed"
    if subprocess.run([*namespace(), "true"], capture_output=True, check=False).returncode:
        return "this user may not make network namespaces"
    return ""


def namespace() -> list[str]:
    """The command that runs another one in a new network namespace."""
    return ["unshare", "--net", "--"] if os.getuid() == 0 else ["unshare", "--user", "--map-root-user", "--net", "--"]


class MilvusServer:
    """A Milvus server whose data is in `folder`. Not started again by itself after `kill`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = folder / "socket"
        self._process = subprocess.Popen(
            [*namespace(), sys.executable, "-m", "tests.support.milvus_namespace", folder / "milvus", self._socket],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._read_pid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="milvus-relay", daemon=True)
        self._thread.start()
        self._relay = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        port = self._relay.sockets[0].getsockname()[1]
        self.uri = f"http://127.0.0.1:{port}"

    def _read_pid(self) -> int:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the namespace of Milvus could not be made"
        return int(line)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(
            relayed(lambda: asyncio.open_unix_connection(self._socket)), "127.0.0.1", limit=1 << 20
        )

    def wait_ready(self) -> None:
        """Returns when a client gets an answer. Raises `TimeoutError`."""
        from pymilvus import MilvusClient  # here, because every test imports this module

        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with suppress(Exception):
                client = MilvusClient(self.uri, timeout=2)
                client.list_collections(timeout=2)
                client.close()
                return
            time.sleep(0.25)
        raise TimeoutError(f"Milvus did not answer within {START_S:.0f} s; its log is {self.folder}/milvus/logs")

    def kill(self) -> None:
        """Ends Milvus as `kill -9` does; connections to it are refused from then on."""
        os.kill(self.pid, signal.SIGKILL)

    def freeze(self) -> None:
        """Stops Milvus where it is: calls get no answer."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Continues after `freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Starts Milvus again with the same data, and returns when it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.pid = self._read_pid()
        self.wait_ready()

    def stop(self) -> None:
        """Ends everything."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        self._relay.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """A Milvus server for all tests that do it no harm, or that start it again afterwards."""
    if not os.environ.get(REQUIRED):
        pytest.skip(
            "tests with a real Milvus are run by `make test-milvus`, and some of them by `make test-milvus-short`"
        )
    if reason := why_not():
        pytest.fail(f"{reason}, and {REQUIRED} is set")
    server = MilvusServer(tmp_path_factory.mktemp("milvus"))
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()
