"""The server around the service: health, reflection, TLS, ports, and the way in which it stops."""

import asyncio
import json
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc
from sightline_server.admission.slots import ServerState
from sightline_server.app.metrics_page import start_metrics
from sightline_server.cli.serve import app as serve_command
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc import server as rpc_server
from sightline_server.rpc.listener.tls import open_certificates
from sightline_server.settings import ServerSettings
from tests.support.authority import Authority
from tests.support.lens import Served, failed, serving, until
from tests.support.pictures import encode, gradient

PHOTO = encode(gradient(64, 64))
LENS = "sightline.v1.LensService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def asked() -> lens_service_pb2.SearchRequest:
    return lens_service_pb2.SearchRequest(photo=PHOTO)


async def kinds(call: Any) -> list[str]:
    found = []
    while (event := await call.read()) is not grpc.aio.EOF:
        found.append(event.WhichOneof("event"))
    return found


async def health_of(served: Served) -> list[int]:
    stub = health_pb2_grpc.HealthStub(served.channel)
    answers = [await stub.Check(health_pb2.HealthCheckRequest(service=name)) for name in ("", LENS)]
    return [answer.status for answer in answers]


async def test_health_says_what_admission_would_say() -> None:
    async with serving(opened=False) as served:
        assert await health_of(served) == [NOT_SERVING, NOT_SERVING], "while it starts"
        await served.open()
        assert await health_of(served) == [SERVING, SERVING]
        served.engine.ready = False
        await until(lambda: not served.door.health._tasks)
        assert await health_of(served) == [NOT_SERVING, NOT_SERVING], "without its engine"
        assert served.value("engine_ready") == 0
        served.engine.ready = True
        await until(lambda: not served.door.health._tasks)
        assert await health_of(served) == [SERVING, SERVING]
        assert served.value("engine_ready") == 1
        await served.door.close(1.0)
        assert await health_of(served) == [NOT_SERVING, NOT_SERVING], "while it stops"


async def test_whoever_watches_health_hears_each_change() -> None:
    async with serving() as served:
        watch = health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest(service=LENS))
        assert (await watch.read()).status == SERVING
        served.engine.ready = False
        assert (await watch.read()).status == NOT_SERVING
        served.engine.ready = True
        assert (await watch.read()).status == SERVING
        watch.cancel()


async def test_health_of_an_unknown_service_is_not_found() -> None:
    async with serving() as served:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_pb2_grpc.HealthStub(served.channel).Check(health_pb2.HealthCheckRequest(service="other"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_an_engine_that_was_lost_while_the_server_started_is_not_served() -> None:
    async with serving(opened=False) as served:
        served.engine.ready = False
        await served.open()
        assert await health_of(served) == [NOT_SERVING, NOT_SERVING]


async def test_a_graceful_stop_finishes_who_is_inside_and_refuses_who_comes() -> None:
    async with serving() as served:
        embedder = served.engine.models["embedder"]
        embedder.gate.clear()
        call = served.search(asked())
        assert [(await call.read()).WhichOneof("event") for _ in range(2)] == ["accepted", "detected"]
        closing = asyncio.create_task(served.door.close(10.0))
        await until(lambda: served.door.admission.state is ServerState.STOPPING)
        error = await failed(served.search(asked()))
        assert (error.events, error.code, error.reason) == ([], grpc.StatusCode.UNAVAILABLE, "STOPPING")
        assert error.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0
        assert await health_of(served) == [NOT_SERVING, NOT_SERVING]
        assert not closing.done()
        embedder.gate.set()
        assert await kinds(call) == ["results", "results", "done"]
        await closing


async def test_a_graceful_stop_is_bounded() -> None:
    async with serving() as served:
        detector = served.engine.models["detector"]
        detector.gate.clear()
        calls = [served.search(asked(), timeout=20) for _ in range(2)]
        for call in calls:
            await call.read()
        await asyncio.wait_for(served.door.close(0.05), 5)
        for call in calls:
            error = await failed(call)
            assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STOPPING")
            assert error.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0
        assert served.value("requests_total", method="Search", code="UNAVAILABLE") == 2
        assert not detector.gate.is_set()
        # Batches on the device are abandoned when the batchers close, at the end of this block.


async def test_connections_end_at_their_age_and_no_call_with_them() -> None:
    """Balancers on layer 4 move a client only when its connection ends."""
    async with serving(server={"max_connection_age_s": 0.15, "max_connection_age_grace_s": 5.0}) as served:
        states: set[grpc.ChannelConnectivity] = set()
        watch = asyncio.create_task(changes(served.channel, states))
        until_s = asyncio.get_running_loop().time() + 0.8
        while asyncio.get_running_loop().time() < until_s:
            assert (await kinds(served.search(asked())))[-1] == "done"
        watch.cancel()
        assert states - {grpc.ChannelConnectivity.READY}, "the connection ended at least once"


async def changes(channel: grpc.aio.Channel, states: set[grpc.ChannelConnectivity]) -> None:
    """Notes each state that the channel takes."""
    state = channel.get_state()
    while True:
        states.add(state)
        await channel.wait_for_state_change(state)
        state = channel.get_state()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def test_two_servers_do_not_share_a_port() -> None:
    async with serving() as served:
        with pytest.raises(SightlineError) as caught:
            async with serving(server={"listen": served.address}):
                raise AssertionError("it was bound twice")
        assert caught.value.kind is ErrorKind.CONFIGURATION
        assert served.address in caught.value.message


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "unixfoo.example:50051", "example.com:50051"])
def test_a_port_that_others_reach_needs_tls_or_a_word(listen: str) -> None:
    settings = ServerSettings.model_validate({"listen": listen})
    with pytest.raises(SightlineError) as caught, rpc_server.listening(None, settings):  # type: ignore[arg-type]
        raise AssertionError("it listens")
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert caught.value.message.startswith(f"server.listen {listen} can be reached by other machines")
    for way in ("server.tls_cert", "server.tls_key", "server.insecure = true", "--insecure"):
        assert way in caught.value.message


@pytest.mark.parametrize("listen", ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464", "metrics.example:9464"])
async def test_metrics_that_others_can_read_need_a_setting(listen: str) -> None:
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        with pytest.raises(SightlineError) as caught:
            start_metrics(stack, ServerSettings.model_validate({"metrics_listen": listen}), registry)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert caught.value.message.startswith(f"server.metrics_listen {listen} can be read by other machines")
    for way in ("127.0.0.1:9464", "server.metrics_insecure = true", "--metrics-insecure"):
        assert way in caught.value.message


@pytest.mark.parametrize(
    "server",
    [
        {"metrics_listen": "0.0.0.0:0", "metrics_insecure": True},
        {"metrics_listen": "127.0.0.1:0"},
        {"metrics_listen": "localhost:0"},
        {"metrics_listen": "metrics.localhost:0"},
    ],
    ids=str,
)
async def test_metrics_are_served_where_they_may_be(server: dict[str, Any]) -> None:
    async with AsyncExitStack() as stack:
        address = start_metrics(stack, ServerSettings(**server), CollectorRegistry())
        reader, writer = await asyncio.open_connection("localhost", int(address.rpartition(":")[2]))
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 \r\n"
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("option", ["--listen", "--metrics-listen"])
def test_port_that_others_reach_ends_serve_with_2(option: str) -> None:
    other = "--metrics-listen" if option == "--listen" else "--listen"
    command = [sys.executable, "-m", "sightline_server", "serve", option, "0.0.0.0:0", other, "127.0.0.1:0"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert (ended.returncode, "can be re" in ended.stderr.splitlines()[-1]) == (2, True)


async def test_insecure_is_a_word_that_suffices() -> None:
    async with serving(server={"listen": "0.0.0.0:0", "insecure": True}) as served:
        served.channel = grpc.aio.insecure_channel(served.address.replace("0.0.0.0", "127.0.0.1"))
        async with served.channel:
            assert (await kinds(served.search(asked())))[-1] == "done"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


async def test_tls_serves_encrypted_channels_and_refuses_plain_ones(authority: Authority) -> None:
    tls = {"tls_cert": authority.cert, "tls_key": authority.key}
    async with serving(server=tls, credentials=authority.credentials()) as served:
        assert (await kinds(served.search(asked(), timeout=10)))[-1] == "done"
        async with grpc.aio.insecure_channel(served.address) as plain:
            error = await failed(lens_service_pb2_grpc.LensServiceStub(plain).Search(asked(), timeout=10))
            assert error.code is grpc.StatusCode.UNAVAILABLE


async def test_tls_on_all_addresses_needs_no_insecure_option(authority: Authority) -> None:
    tls = {"listen": "0.0.0.0:0", "tls_cert": authority.cert, "tls_key": authority.key}
    async with serving(server=tls) as served:
        assert served.address.startswith("0.0.0.0:")


async def test_mutual_tls_serves_only_clients_with_a_certificate(authority: Authority) -> None:
    tls = {"tls_cert": authority.cert, "tls_key": authority.key, "tls_client_ca": authority.root}
    async with serving(server=tls, credentials=authority.credentials(client=True)) as served:
        assert (await kinds(served.search(asked(), timeout=10)))[-1] == "done"
        port = served.address.rpartition(":")[2]
        for wrong in (authority.credentials(), authority.credentials(stranger=True)):
            async with grpc.aio.secure_channel(f"localhost:{port}", wrong) as channel:
                error = await failed(lens_service_pb2_grpc.LensServiceStub(channel).Search(asked(), timeout=10))
                assert error.code is grpc.StatusCode.UNAVAILABLE
        assert served.value("requests_total", method="Search", code="OK") == 1


def test_inconsistent_tls_settings_are_refused(authority: Authority, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    wrong: list[dict[str, Any]] = [
        {"tls_cert": authority.cert},
        {"tls_key": authority.key},
        {"tls_client_ca": authority.root},
        {"tls_cert": tmp_path / "nowhere.pem", "tls_key": authority.key},
        {"tls_cert": authority.cert, "tls_key": tmp_path},
    ]
    for settings in wrong:
        with pytest.raises(SightlineError) as caught:
            open_certificates(ServerSettings(**settings))
        assert caught.value.kind is ErrorKind.CONFIGURATION


@pytest.mark.parametrize("swapped", [False, True])
async def test_tls_files_without_a_certificate_are_named(authority: Authority, tmp_path: Path, swapped: bool) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    cert, key = (authority.key, authority.cert) if swapped else (junk, authority.key)
    with pytest.raises(SightlineError) as caught:
        async with serving(server={"tls_cert": cert, "tls_key": key}):
            raise AssertionError("it was taken")
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert "--tls-cert" in caught.value.message


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`sightline serve` that must end by itself, before it starts an engine."""
    command = [sys.executable, "-m", "sightline_server", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50)


def test_a_taken_port_ends_serve_with_2_and_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        free = f"127.0.0.1:{free_port()}"
        for arguments in (
            ["--listen", address, "--metrics-listen", free],
            ["--listen", free, "--metrics-listen", address],
        ):
            ended = serve(*arguments)
            assert ended.returncode == 2
            assert address in ended.stderr
            assert len(ended.stderr.splitlines()) <= 2, "a readable line, not a traceback"


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["--config", "/nowhere.toml"], {}, "nowhere.toml"),
        ([], {"SIGHTLINE_LIMITS__MAX_REGION": "3"}, "max_region"),
        ([], {"SIGHTLINE_LIMIT__MAX_REGIONS": "3"}, "SIGHTLINE_LIMIT__MAX_REGIONS"),
    ],
)
def test_settings_that_are_wrong_end_serve_with_2(
    arguments: list[str], variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ended = CliRunner().invoke(serve_command, arguments)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert words in ended.stderr


def test_print_config_shows_the_settings_and_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_LIMITS__MAX_REGIONS", "5")
    ended = CliRunner().invoke(serve_command, ["--print-config", "--listen", "127.0.0.1:7"])
    assert ended.exit_code == 0
    shown = json.loads(ended.stdout)
    assert shown["limits"]["max_regions"] == 5
    assert shown["server"]["listen"] == "127.0.0.1:7"
