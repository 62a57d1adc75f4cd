"""Debian's redis-server for tests: finds it, starts it on a free port of 127.0.0.1, freezes, kills and restarts it.

It is not a Python package, so a fresh machine does not have it: the tests that need it are skipped there, with the
reason, unless SIGHTLINE_REQUIRE_REDIS is set, as our own CI does. `scripts/redis.sh` fetches it without root.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.support.engine import sightline_home

START_S = 20.0


def program() -> Path:
    """`redis-server` or `valkey-server` from PATH, or from where `scripts/redis.sh` puts it."""
    fetched = sightline_home() / "tools" / "redis"
    path = os.pathsep.join([os.environ.get("PATH", ""), str(fetched)])
    found = shutil.which("redis-server", path=path) or shutil.which("valkey-server", path=path)
    if found is None:
        missing = f"no redis-server on PATH or in {fetched}: run scripts/redis.sh"
        if os.environ.get("SIGHTLINE_REQUIRE_REDIS"):
            pytest.fail(missing)
        pytest.skip(missing)
    return Path(found)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Redis:
    """A separate server as a context manager; `options` are those of its command line, without the dashes."""

    def __init__(self, folder: Path, *, tls: bool = False, **options: Any) -> None:
        self._program = program()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.tls = tls

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"rediss://localhost:{self.port}" if self.tls else f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, with nothing in its memory, and returns when it listens."""
        ports = {"port": 0, "tls-port": self.port} if self.tls else {"port": self.port}
        options: dict[str, Any] = {"bind": "127.0.0.1", "save": "", "dir": self._folder, **ports, **self._options}
        arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self._process = subprocess.Popen([str(self._program), *arguments], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.01)
        self.kill()
        raise RuntimeError("redis-server did not start")

    def kill(self) -> None:
        """Kills it; what it knew is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self, *, frozen: bool = True) -> None:
        """Stops it in its tracks, or lets it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def say(self, *parts: str) -> str:
        """The answer to one command, as it is on the wire; without TLS only."""
        command = b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(p), p.encode()) for p in parts)])
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(command + b"*1\r\n$4\r\nQUIT\r\n")
            with connection.makefile("rb") as answers:
                return answers.read().decode().removesuffix("+OK\r\n").strip()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
