"""SIGHUP to `sightline serve` while it starts and while it stops: it continues, and ends as requested.

The engine is somebody who accepts connections and never answers, so that the start lasts as long as a test wants.
What SIGHUP does to a server that serves is tested with the real engine, in tests/integration/test_workers.py.
"""

import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.catalogs import row, unit_vectors, write_catalog

CONSOLE = [sys.executable, "-c", "from sightline_command import main; main()"]
MODULE = [sys.executable, "-m", "sightline_server"]
STARTS = "SIGHUP: the server starts"
WITHIN_S = 50.0


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog that is never searched: without one, the server does not begin to start."""
    folder = tmp_path_factory.mktemp("hangup") / "catalog"
    write_catalog(folder, [row("p0", unit_vectors(1))])
    return folder


@contextmanager
def starting(catalog: Path, program: list[str], *more: str) -> Iterator[subprocess.Popen[str]]:
    """A server that waits for its engine; killed at the end if it has not ended."""
    with socket.create_server(("127.0.0.1", 0)) as engine:
        process = subprocess.Popen(
            [*command(catalog, program, engine), *more],
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            yield process
            process.kill()


def command(catalog: Path, program: list[str], engine: socket.socket) -> list[str]:
    address = f"127.0.0.1:{engine.getsockname()[1]}"
    listen = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
    return [*program, "serve", "--catalog", str(catalog), "--triton-url", address, *listen]


def blocks_hangup(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    [mask] = [line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:")]
    return bool(int(mask, 16) & 1 << (signal.SIGHUP - 1))


def wait_until_blocked(process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not blocks_hangup(process.pid):
        assert process.poll() is None
        assert time.monotonic() < deadline


@pytest.mark.parametrize("program", [CONSOLE, MODULE], ids=["sightline", "python -m"])
@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_a_hangup_at_any_moment_of_the_start_does_not_end_it(
    catalog: Path, program: list[str], more: tuple[str, ...]
) -> None:
    with starting(catalog, program, *more) as process:
        wait_until_blocked(process)
        assert process.stderr is not None
        line = ""
        # From the moment on at which Python has begun, through all imports, until the log shows that it was received.
        os.set_blocking(process.stderr.fileno(), False)
        deadline = time.monotonic() + WITHIN_S
        while STARTS not in line:
            process.send_signal(signal.SIGHUP)
            line += process.stderr.readline()
            assert process.poll() is None, line
            assert time.monotonic() < deadline, line
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGHUP)
        assert process.wait(WITHIN_S) == 0


def test_a_server_under_nohup_hears_a_hangup_all_the_same(catalog: Path) -> None:
    with starting(catalog, ["nohup", *MODULE]) as process:
        wait_until_blocked(process)
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        assert any(STARTS in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0


def test_a_terminal_that_is_closed_does_not_end_it(catalog: Path) -> None:
    ours, terminal = pty.openpty()
    with socket.create_server(("127.0.0.1", 0)) as engine:
        process = subprocess.Popen(
            command(catalog, ["setsid", "--ctty", *CONSOLE], engine),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        with process:
            engine.settimeout(WITHIN_S)
            connection, _ = engine.accept()
            with connection:
                os.close(ours)
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.5)
                process.send_signal(signal.SIGTERM)
                assert process.wait(WITHIN_S) == 0
