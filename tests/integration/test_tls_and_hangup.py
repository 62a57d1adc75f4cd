"""SIGHUP and new certificates with the real engine: a server alone, and one with workers."""

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest

from load_tests.observe.processes import living
from tests.support.authority import Authority
from tests.support.world import RunningServer, World, asked, environment, search

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
CONNECTIONS = 16
"""So many that the kernel gives both workers some, but for one time in 30,000."""


async def test_sighup_to_every_process_of_a_server_alone_ends_none(server: RunningServer, world: World) -> None:
    everyone = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    assert len(everyone) >= 5, "the server, Triton, two stubs and the reaper"
    for _ in range(3):
        for process in everyone:
            process.send_signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP: no TLS files to read" in server.log.read_text())
    async with grpc.aio.insecure_channel(server.target) as channel:
        assert (await search(channel, asked(world.picture(1)))).objects
    assert len(living(everyone)) == len(everyone)


def wait_until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@dataclass
class Secure:
    """A server with TLS; `LocalServer` would ask for its health without."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def port(self) -> int:
        [line] = [line for line in self.log.read_text().splitlines() if "serving on " in line]
        return int(line.partition("serving on ")[2].partition(",")[0].rpartition(":")[2])

    def shown(self) -> set[bytes]:
        """The certificates that new connections are shown."""
        found = (ssl.get_server_certificate(("127.0.0.1", self.port)) for _ in range(CONNECTIONS))
        return {each.encode().strip() for each in found}

    def workers(self) -> set[int]:
        found = set()
        for child in psutil.Process(self.process.pid).children():
            # One that has ended has no command line.
            with suppress(psutil.Error):
                if "sightline_server.workers.worker" in child.cmdline():
                    found.add(child.pid)
        return found

    def wait_for(self, words: str, times: int = 1) -> None:
        wait_until(lambda: self.log.read_text().count(words) >= times)


@contextmanager
def secure(world: World, authority: Authority, log: Path) -> Iterator[Secure]:
    """A server with two workers and TLS."""
    command = [sys.executable, "-m", "sightline_server", "serve", "--catalog", str(world.catalog), "--workers", "2"]
    listen = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
    tls = ["--tls-cert", str(authority.cert), "--tls-key", str(authority.key)]
    with log.open("wb") as file:
        process = subprocess.Popen([*command, *listen, *tls], env=environment(), stderr=file)
    with process:
        try:
            found = Secure(process, log)
            wait_until(lambda: "serving on " in log.read_text() or process.poll() is not None, 120)
            yield found
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_workers_follow_the_tls_files_and_start_again_while_these_are_broken(world: World, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first = authority.cert.read_bytes().strip()
    with secure(world, authority, tmp_path / "server.log") as server:
        assert server.shown() == {first}
        second = authority.issue().strip()
        assert server.shown() == {second}
        server.wait_for("TLS: new connections use the files")
        authority.key.write_bytes(b"half a key")
        assert server.shown() == {second}
        # A worker that is killed now is started again, and has no good files to read.
        before = server.workers()
        os.kill(min(before), signal.SIGKILL)
        wait_until(lambda: len(server.workers() - before) == 1 and len(server.workers()) == 2)
        server.wait_for("serves, process", 3)
        assert server.shown() == {second}
        # So is every worker on SIGHUP.
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("workers replaced")
        assert not before & server.workers()
        assert server.shown() == {second}
        third = authority.issue().strip()
        assert server.shown() == {third}
        server.wait_for("TLS: new connections use the files", 2)
        said = server.log.read_text()
    assert 1 <= said.count("TLS: new connections go on") <= 2, "the parent's, on its check and on SIGHUP"
    assert "half a key" not in said
    assert "PRIVATE" not in said
    assert "Traceback" not in said
