"""Other users of the machine.

The engine's socket is in a folder that only the server's user may enter, no process below the server listens on TCP,
and the server's environment stays with the server.
"""

import os
import stat
from pathlib import Path

import psutil
import pytest

from load_tests.attacks.engine import EVERYTHING, done_by_a_neighbour, tcp_listeners
from load_tests.attacks.frame import Skipped
from sightline_server.domain.address import UnixAddress, parse_target
from sightline_server.embedded import command
from sightline_server.embedded.command import Ports, free_ports
from sightline_server.embedded.installation import Installation
from sightline_server.triton import regions
from tests.support.embedded import Embedded, both, running_engine
from tests.support.remote_triton import remote_triton

pytestmark = pytest.mark.engine


def attacked(target: str) -> set[str]:
    """Attacks of another user that succeed on the engine at `target`."""
    try:
        return done_by_a_neighbour(target)
    except Skipped as reason:
        pytest.skip(str(reason))


def socket_of(running: Embedded) -> Path:
    """The engine's socket."""
    address = parse_target(running.engine.address)
    assert isinstance(address, UnixAddress)
    return Path(address.path)


async def test_no_other_user_reaches_the_engine_and_nothing_listens_on_tcp(tiny_repository: Path) -> None:
    others = tcp_listeners(os.getpid())  # servers that other tests have left running
    async with running_engine(tiny_repository) as running, running_engine(tiny_repository) as second:
        path = socket_of(running)
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert len(os.fsencode(path)) <= 100
        assert tcp_listeners(os.getpid()) == others
        assert running.engine.address != second.engine.address
        if os.geteuid() == 0:
            assert attacked(running.engine.address) == set()
        await both(running.engine)
        await both(second.engine)
    assert not path.parent.exists()


def test_the_same_attack_takes_a_triton_on_tcp(tiny_repository: Path) -> None:
    """Every attempt succeeds on this Triton, so the test above is able to fail."""
    others = tcp_listeners(os.getpid())
    with remote_triton(tiny_repository) as triton:
        assert attacked(triton.url) == EVERYTHING
        found = tcp_listeners(os.getpid()).items() - others.items()
        assert {port for _, port in found} == {triton.ports.grpc, triton.ports.metrics}


def test_shared_memory_of_the_engine_is_private_while_it_has_a_name(tiny_repository: Path) -> None:
    """A neighbour who opens it in the moment of the start would read all photos from then on."""
    with remote_triton(tiny_repository) as triton:
        assert triton.process
        files = regions.listed(triton.process.prefix)
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_metrics_are_the_only_tcp_listener_and_only_by_setting(tiny_repository: Path) -> None:
    others = tcp_listeners(os.getpid())
    async with running_engine(tiny_repository, metrics_port=0) as running:
        ((_, port),) = tcp_listeners(os.getpid()).items() - others.items()
        assert running.engine.metrics_url == f"http://127.0.0.1:{port}/metrics"


async def test_a_restarted_engine_has_the_same_address(tiny_repository: Path) -> None:
    async with running_engine(tiny_repository) as running:
        before, pid = socket_of(running), running.host.pid
        psutil.Process(pid).kill()
        await running.readiness.until(False, True)
        assert (socket_of(running), running.host.pid != pid) == (before, True)
        await both(running.engine)


async def test_a_removed_runtime_folder_is_made_again_at_the_next_start(tiny_repository: Path) -> None:
    async with running_engine(tiny_repository) as running:
        before = socket_of(running)
        before.unlink()
        for link in before.parent.iterdir():
            link.unlink()
        before.parent.rmdir()
        psutil.Process(running.host.pid).kill()
        await running.readiness.until(False, True)
        assert socket_of(running) != before
        await both(running.engine)


def test_the_engine_inherits_only_what_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "SIGHTLINE_SERVER__TLS_KEY", "OTEL_EXPORTER_OTLP_HEADERS", "GLIBC_TUNABLES"):
        monkeypatch.setenv(name, "secret")
    for name in ("PGPASSWORD", "HTTPS_PROXY", "LD_PRELOAD", "PYTHONPATH", "LC", "NVIDIA_", "MYCUDA_X", "HOMEX"):
        monkeypatch.setenv(name, "secret")
    wanted = {
        "TMPDIR": "/t",
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "2",
        "CUDA_CACHE_PATH": "/c",
        "NVIDIA_VISIBLE_DEVICES": "0",
    }
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    told = command.environment(Installation(tmp_path, "3.11", "/lib"), gpu=False)
    assert "secret" not in told.values()
    assert wanted.items() <= told.items()


@pytest.mark.parametrize("ports", [free_ports(), Ports(1, 0, Path("/run/x/triton"))], ids=["tcp", "unix"])
def test_ports_say_where_triton_listens(ports: Ports) -> None:
    assert str(parse_target(str(ports.address))) == str(ports.address)
    assert ports.metrics_url.startswith("http://127.0.0.1:") is bool(ports.metrics)
