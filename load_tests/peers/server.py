"""Starts a peer in its environment, waits until it answers, and ends every process of it whatever happens. Linux.

Rule: a peer's processes are known by a variable that they all inherit, so that none outlives its server, however a
framework starts its workers; nothing else is ever ended.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx
import psutil

import sightline_client
from load_tests.generator.photos import ROOT
from load_tests.peers.cells import Cell, Seat
from load_tests.peers.peers import Peer
from sightline_client.local_server import last_lines

MARK = "SIGHTLINE_PEER_RUN"
QUIET = {
    "BENTOML_DO_NOT_TRACK": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}
START_S, STOP_S = 90.0, 20.0


class PeerError(Exception):
    """A peer did not start; the message ends with the last lines of its log."""


class PeerServer:
    """A peer on a cell, as a context manager; `url` is valid inside. `photo` is what it is asked until it answers."""

    def __init__(self, peer: Peer, cell: Cell, environment: Path, world: Path, photo: bytes) -> None:
        self._peer, self._cell, self._environment = peer, cell, environment
        self._world, self._photo = world, photo
        self._mark = secrets.token_hex(8)
        self._home = Path()
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._home = Path(tempfile.mkdtemp(prefix="peer-"))
        self._log = tempfile.TemporaryFile()
        try:
            self._start()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Asks the peer to stop, then ends what is left of it, then removes its files."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                self._process.kill()
            end_marked(self._mark)
            self._process.wait()
        if self._log is not None:
            self._log.close()
            self._log = None
        shutil.rmtree(self._home, ignore_errors=True)

    def log_tail(self, lines: int = 30) -> str:
        """The last lines that the peer wrote."""
        return "" if self._log is None else last_lines(self._log, lines)

    def _start(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}{self._peer.path}"
        environment = {
            **os.environ,
            **QUIET,
            **Seat(self._cell, self._world, port).environment(),
            MARK: self._mark,
            "HOME": str(self._home),
            "TMPDIR": str(self._home),
            "BENTOML_HOME": str(self._home / "bentoml"),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'server'}",
        }
        launcher = Path(sightline_client.__file__).with_name("bound_launch.py")
        command = self._peer.command(self._environment, self._cell, port)
        self._process = subprocess.Popen(
            [sys.executable, str(launcher), str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_S
        body, headers = self._peer.body(self._photo), {"content-type": self._peer.content_type}
        with httpx.Client(timeout=10.0, trust_env=False) as client:
            while self._process.poll() is None and time.monotonic() < deadline:
                try:
                    if client.post(self.url, content=body, headers=headers).status_code == httpx.codes.OK:
                        return
                except httpx.HTTPError:
                    pass
                time.sleep(0.25)
        raise PeerError(f"{self._peer.name} ({self._cell}) did not start:\n{self.log_tail()}")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def end_marked(mark: str) -> None:
    """Ends every process that was started with `mark` in its environment, and whatever those started."""
    for _ in range(3):
        left = marked(mark)
        if not left:
            return
        for process in left:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
        psutil.wait_procs(left, timeout=5.0)


def marked(mark: str) -> list[psutil.Process]:
    """The running processes with `mark` in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found
