"""Proxies of the environment are never used between server, engine and client on one machine."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from load_tests.observe.scrapes import scrape
from sightline_client.options import ClientOptions
from sightline_client.sync import Client
from sightline_server.domain.address import parse_target
from sightline_server.embedded.command import environment
from sightline_server.embedded.installation import Installation
from sightline_server.triton.client import channel_options
from tests.support.embedded import both, running_engine
from tests.support.world import World, product_id, running

PROXIES = [f"{name}_proxy" for name in ("http", "https", "grpc", "all")]
PROXIES += [name.upper() for name in PROXIES]


@contextmanager
def proxy() -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that notes what it is asked and hangs up; its URL, and the first bytes of each question."""
    asked: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                asked.append(connection.recv(200))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """The requests to the proxy that every variable names; no address is exempt from it."""
    with proxy() as (url, questions):
        for name in PROXIES:
            monkeypatch.setenv(name, url)
        for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy", "NO_GRPC_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield questions


def loopback(asked: list[bytes]) -> list[bytes]:
    """The questions that are about this machine."""
    return [question for question in asked if any(host in question for host in (b"127.", b"localhost", b"::1"))]


@pytest.mark.engine
async def test_engine_starts_and_answers_past_proxies(tiny_repository: Path, asked: list[bytes]) -> None:
    async with running_engine(tiny_repository) as running:
        await both(running.engine)
    assert loopback(asked) == []


@pytest.mark.engine
def test_server_client_and_metrics_are_reached_past_proxies(world: World, tmp_path: Path, asked: list[bytes]) -> None:
    with running(world, tmp_path / "log") as server, Client(ClientOptions(target=server.target)) as client:
        answer = client.find(world.picture(0))
        assert scrape(server.process.metrics_url).sum("sightline_requests_total", code="OK") >= 1
    assert answer.objects[0].products[0].product.id == product_id(0)
    assert loopback(asked) == []


def test_proxy_that_is_used_would_be_noticed(asked: list[bytes]) -> None:
    options = [("grpc.enable_http_proxy", 1)]
    with grpc.insecure_channel("127.0.0.1:9", options=options) as channel, pytest.raises(grpc.FutureTimeoutError):
        grpc.channel_ready_future(channel).result(1.0)
    assert loopback(asked)[0].startswith(b"CONNECT 127.0.0.1:9 ")


@pytest.mark.parametrize(("address", "through_proxies"), [("127.0.0.1:1", 0), ("unix:/s", 0), ("triton:8001", 1)])
def test_proxies_are_for_a_triton_elsewhere(address: str, through_proxies: int) -> None:
    assert dict(channel_options(parse_target(address)))["grpc.enable_http_proxy"] == through_proxies


def test_engine_inherits_no_proxies(asked: list[bytes]) -> None:
    inherited = environment(Installation(Path("/x"), "3.11", "/lib"), gpu=False)
    assert [name for name in inherited if name.lower().endswith("_proxy")] == []
    assert inherited["HOME"] == os.environ["HOME"]
