"""Starting and stopping a server process, with a substitute for `python -m sightline_server`."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sightline_client.local_server import LocalServer, LocalServerError, last_lines

STAND_IN = """
import os, signal, sys
from concurrent import futures
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

listen = sys.argv[sys.argv.index("--listen") + 1]
with open(os.environ["STAND_IN_LOG"], "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if os.environ.get("STAND_IN_FAILS"):
    print("cannot listen on", listen)
    sys.exit(int(os.environ["STAND_IN_FAILS"]))
server = grpc.server(futures.ThreadPoolExecutor(2))
servicer = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
servicer.set("sightline.v1.LensService", health_pb2.HealthCheckResponse.SERVING)
server.add_insecure_port(listen)
server.start()
signal.signal(signal.SIGTERM, lambda *_: server.stop(0))
server.wait_for_termination()
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Puts the substitute before the real server on the path."""
    (tmp_path / "sightline_server").mkdir()
    (tmp_path / "sightline_server" / "__init__.py").touch()
    (tmp_path / "sightline_server" / "__main__.py").write_text(STAND_IN)
    return {"PYTHONPATH": str(tmp_path), "STAND_IN_LOG": str(tmp_path / "starts")}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_serves_inside_and_is_gone_after(environment: dict[str, str], tmp_path: Path) -> None:
    with LocalServer(catalog=Path("/catalog"), extra_args=["--config", "x.toml"], env=environment) as server:
        pid = server.pid
        assert alive(pid)
        started = (tmp_path / "starts").read_text()
        assert f"serve --listen {server.target} --metrics-listen {server.metrics_url[7:-8]}" in started
        assert "--catalog /catalog --config x.toml" in started
    assert not alive(pid)


def test_it_is_gone_after_an_error_too(environment: dict[str, str]) -> None:
    pids = []

    def interrupted() -> None:
        with LocalServer(env=environment) as server:
            pids.append(server.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not alive(*pids)


def test_reading_a_log_does_not_move_the_place_where_the_server_writes(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb+") as log:
        writer = os.dup(log.fileno())
        for word in (b"one\n", b"two\n", b"three\n"):
            os.write(writer, word)
            assert last_lines(log, 1) == word.decode().strip()
        os.lseek(writer, 4, os.SEEK_SET)
        assert last_lines(log, 2) == "two\nthree"
        assert os.lseek(writer, 0, os.SEEK_CUR) == 4
        os.close(writer)


def test_a_server_that_fails_shows_its_last_words(environment: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(LocalServerError, match=r"exit code 1[\s\S]*cannot listen on"):
        LocalServer(env={**environment, "STAND_IN_FAILS": "1"}).__enter__()
    assert len((tmp_path / "starts").read_text().splitlines()) == 1


def test_a_taken_port_is_tried_again_with_others(environment: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(LocalServerError, match="exit code 2"):
        LocalServer(env={**environment, "STAND_IN_FAILS": "2"}, attempts=3).__enter__()
    starts = (tmp_path / "starts").read_text().splitlines()
    assert len(starts) == 3
    assert len(set(starts)) == 3


def test_the_server_ends_with_a_parent_that_was_killed(environment: dict[str, str]) -> None:
    code = (
        "import sys\nfrom sightline_client.local_server import LocalServer\n"
        f"server = LocalServer(env={environment!r}).__enter__()\nprint(server.pid, flush=True)\nsys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdin is not None
    pid = int(parent.stdout.readline())
    pidfd = os.pidfd_open(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    ended, _, _ = select.select([pidfd], [], [], 10)
    os.close(pidfd)
    parent.stdin.close()
    parent.stdout.close()
    assert ended
