"""Starts a separate Sightline server on free ports, waits until it serves, and stops it whatever happens.

`eval --catalog`, the demo, the tests and the load tests use it. Rule: the server is a separate program, found as
`python -m sightline_server`; nothing of it is imported here. Enter it from a thread that lives as long as the server is
needed: the server is stopped when that thread ends.
"""

import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import grpc

from sightline_client.errors import SightlineError
from sightline_client.target import proxy_option

SERVICE = "sightline.v1.LensService"
PORT_TAKEN = 2
"""The exit code of `serve` when a port is taken, and of usage errors."""
TAIL_BYTES = 64 * 1024
"""Bytes at the end of a log in which its last lines are searched."""


class LocalServerError(SightlineError):
    """The server did not start; the message ends with the last lines of its log."""


class LocalServer:
    """A server process as a context manager; `target`, `metrics_url` and `pid` are valid inside.

    `extra_args` go to `serve` as they are, `env` is added to this process's environment. The server's output goes to
    `log` if given, else to a temporary file that is shown when the start fails. `prefix` is another program with its
    arguments, by its full path, that becomes the server: `("/usr/bin/nice", "-n", "5")`.
    """

    def __init__(
        self,
        *,
        catalog: Path | None = None,
        extra_args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        start_timeout_s: float = 120.0,
        stop_timeout_s: float = 30.0,
        log: Path | None = None,
        attempts: int = 3,
        prefix: Sequence[str] = (),
    ) -> None:
        self._arguments = [*(("--catalog", str(catalog.absolute())) if catalog is not None else ()), *extra_args]
        self._environment = {**os.environ, **(env or {})}
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._log_path = log
        self._attempts = attempts
        self._prefix = list(prefix)
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.target = ""
        self.metrics_url = ""

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running().pid

    def __enter__(self) -> Self:
        self._log = self._log_path.open("wb+") if self._log_path else tempfile.TemporaryFile()
        try:
            for attempt in range(1, self._attempts + 1):
                if self._start(last=attempt == self._attempts):
                    break
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Asks the server to stop and, past `stop_timeout_s` or at a second Ctrl-C, makes it."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(self._stop_timeout_s)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                self._process.kill()
                self._process.wait()
        if self._log is not None:
            self._log.close()
            self._log = None

    def send_signal(self, number: signal.Signals) -> None:
        """Sends the server a signal."""
        self._running().send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """Waits for the server's own end and returns its exit code."""
        return self._running().wait(timeout_s)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that the server wrote."""
        return "" if self._log is None else last_lines(self._log, lines)

    def _start(self, *, last: bool) -> bool:
        port, metrics_port = _free_ports(2)
        self.target, self.metrics_url = f"127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}/metrics"
        serve = [sys.executable, "-m", "sightline_server", "serve", "--listen", self.target]
        serve += ["--metrics-listen", f"127.0.0.1:{metrics_port}", *self._arguments]
        launcher = Path(__file__).with_name("bound_launch.py")
        self._process = subprocess.Popen(
            [sys.executable, str(launcher), str(os.getpid()), *self._prefix, *serve],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=self._environment,
            # Its own group: Ctrl-C on the terminal reaches this process, which then stops the server in order.
            start_new_session=True,
        )
        if self._wait_until_serving():
            return True
        # Somebody may have taken a port between its choice and its use; any other failure is final.
        taken = self._process.returncode == PORT_TAKEN and any(str(p) in self.log_tail() for p in (port, metrics_port))
        if taken and not last:
            return False
        raise LocalServerError(f"the server did not start (exit code {self._process.returncode}):\n{self.log_tail()}")

    def _wait_until_serving(self) -> bool:
        """True once it serves, False when it ended first. Raises `LocalServerError` when neither happens in time."""
        deadline = time.monotonic() + self._start_timeout_s
        options = [("grpc.max_reconnect_backoff_ms", 300), proxy_option(self.target)]
        with grpc.insecure_channel(self.target, options=options) as channel:
            health = _Health(channel)
            while self._running().poll() is None:
                if health.serving():
                    return True
                if time.monotonic() > deadline:
                    raise LocalServerError(
                        f"the server did not serve within {self._start_timeout_s:g} s:\n{self.log_tail()}"
                    )
                self._pause(0.1)
        return False

    def _pause(self, seconds: float) -> None:
        try:
            self._running().wait(seconds)
        except subprocess.TimeoutExpired:
            return

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise LocalServerError("the server has not been started")
        return self._process


class _Health:
    """gRPC health v1; the package belongs to the server's extras, so it is imported only where a server is."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._messages: Any = importlib.import_module("grpc_health.v1.health_pb2")
        self._stub: Any = importlib.import_module("grpc_health.v1.health_pb2_grpc").HealthStub(channel)

    def serving(self) -> bool:
        """Returns whether the search service reports SERVING now."""
        try:
            answer = self._stub.Check(self._messages.HealthCheckRequest(service=SERVICE), timeout=1.0)
        except grpc.RpcError:
            return False
        return bool(answer.status == self._messages.HealthCheckResponse.SERVING)


def last_lines(log: IO[bytes], lines: int) -> str:
    """The last lines of a file to which another process writes through the same descriptor."""
    # Where this process reads is where that one would write next, so the file's position is not moved.
    start = max(0, os.fstat(log.fileno()).st_size - TAIL_BYTES)
    return b"\n".join(os.pread(log.fileno(), TAIL_BYTES, start).splitlines()[-lines:]).decode(errors="replace")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
