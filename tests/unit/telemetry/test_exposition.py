"""`/metrics` over HTTP: whole requests are answered at once, whatever else is connected, and nothing stays for long."""

import asyncio
import gzip
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any
from unittest.mock import Mock

import h11
import pytest
from prometheus_client import CollectorRegistry, Counter, Metric

from sightline_server.telemetry import exposition
from sightline_server.telemetry.exposition import serving_metrics

HALF = b"GET /metrics HTTP/1.1\r\nX-Slow: "
WHOLE = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def port() -> Iterator[int]:
    registry = CollectorRegistry()
    Counter("apples", "Apples.", registry=registry).inc(3)
    with serving_metrics("127.0.0.1", 0, registry) as number:
        yield number


def get(port: int, path: str = "/metrics", **headers: str) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    return urllib.request.urlopen(request, timeout=10)


def said(port: int, sent: bytes) -> bytes:
    """Everything that the server says to `sent`, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
        caller.sendall(sent)
        return b"".join(iter(lambda: caller.recv(4096), b""))


def test_a_request_is_answered_in_the_text_format(port: int) -> None:
    with get(port) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert b"apples_total 3.0" in answer.read()


def test_a_connection_ends_with_its_answer(port: int) -> None:
    began = time.monotonic()
    assert b"apples_total 3.0" in said(port, WHOLE)
    assert time.monotonic() - began < exposition.ANSWER_S / 2


def test_an_answer_is_one_piece_without_empty_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The `writelines` of Python 3.12 keeps an empty last part for ever; this one fails for it on any Python."""
    given: list[bytes] = []
    transport = Mock(spec=asyncio.Transport)
    transport.write.side_effect = given.append
    exchange = exposition.Exchange(Mock(spec=exposition.MetricsServer))
    monkeypatch.setattr(exchange, "_end_in", lambda _seconds: None)
    exchange._transport = transport
    exchange._send([exposition.refusal(400), h11.EndOfMessage()])
    assert [bool(part) for part in given] == [True]
    transport.writelines.assert_not_called()
    transport.close.assert_called_once()


def test_formats_compression_and_selection_are_those_of_the_client_library(port: int) -> None:
    with get(port, **{"Accept-Encoding": "gzip"}) as answer:
        assert b"apples_total 3.0" in gzip.decompress(answer.read())
    with get(port, Accept="application/openmetrics-text; version=1.0.0") as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    with get(port, "/metrics?name[]=pears") as answer:
        assert b"apples" not in answer.read()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x00\x01\x02\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000, b"431"),
    ],
    ids=["bytes", "no host", "a method", "long headers"],
)
def test_what_is_not_a_request_for_metrics_is_refused(port: int, sent: bytes, status: bytes) -> None:
    assert said(port, sent).startswith(b"HTTP/1.1 " + status)
    with get(port) as answer:
        assert answer.status == 200


def test_head_gets_the_head_alone_at_once(port: int, caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    head, _, body = said(port, b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200") and b"Content-Type: text/plain" in head
    assert (body, caplog.records) == (b"", [])
    assert time.monotonic() - began < exposition.ANSWER_S / 2


def test_an_answer_that_is_not_http_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    events = [h11.Response(status_code=200, headers=[("Content-Length", "0")]), h11.Data(data=b"more")]
    monkeypatch.setattr(exposition.MetricsServer, "_made", lambda _server, _request: events)
    with serving_metrics("127.0.0.1", 0, CollectorRegistry()) as port:
        began = time.monotonic()
        with suppress(ConnectionResetError):
            assert said(port, WHOLE) == b""
        assert time.monotonic() - began < exposition.ANSWER_S / 2
    assert [each.message for each in caplog.records] == ["metrics: an answer is not valid HTTP"]


def test_half_sent_requests_take_no_thread_and_do_not_delay_others(port: int) -> None:
    before = threading.active_count()
    with ExitStack() as stack:
        for _ in range(200):
            caller = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            caller.sendall(HALF)
        with get(port) as answer:
            assert answer.status == 200
        assert threading.active_count() <= before + exposition.THREADS


def test_a_half_sent_request_is_ended_in_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "REQUEST_S", 0.1)
    assert said(port, HALF) == b""


def test_an_answer_that_is_not_read_is_ended_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "ANSWER_S", 0.1)
    registry = CollectorRegistry()
    counter = Counter("long", "Long.", ["name"], registry=registry)
    for number in range(300):
        counter.labels(f"{number}" * 30_000)
    gone = threading.Event()
    end = exposition.Exchange.end

    def ended(self: exposition.Exchange) -> None:
        end(self)
        gone.set()

    monkeypatch.setattr(exposition.Exchange, "end", ended)
    with (
        serving_metrics("127.0.0.1", 0, registry) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as caller,
    ):
        caller.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert gone.wait(30)


def test_an_answer_that_cannot_be_made_is_an_error_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def collect(self) -> Iterator[Metric]:
            raise MemoryError

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Broken())
    with serving_metrics("127.0.0.1", 0, registry) as port:
        assert said(port, b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 500")
    assert "an answer could not be made" in caplog.text


def test_a_thousand_callers_connect_without_waiting_for_the_kernel(port: int) -> None:
    with ExitStack() as stack:
        for _ in range(900):
            # The kernel tries again after a second where a listener's queue is full.
            caller = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=0.9))
            caller.sendall(HALF)
        with get(port) as answer:
            assert answer.status == 200


def test_with_too_many_connections_the_oldest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "MOST_CONNECTIONS", 3)
    with serving_metrics("127.0.0.1", 0, CollectorRegistry()) as port, ExitStack() as stack:
        callers = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(3)]
        for caller in callers:
            caller.sendall(HALF)
        with get(port) as answer:
            assert answer.status == 200
        # A connection with unread bytes is reset by the kernel.
        with suppress(ConnectionResetError):
            assert callers[0].recv(1) == b""
        callers[1].sendall(b"fast\r\nHost: a\r\n\r\n")
        assert callers[1].recv(12) == b"HTTP/1.1 200"


def test_a_taken_port_is_an_error_and_a_port_is_free_again_afterwards() -> None:
    with (
        serving_metrics("127.0.0.1", 0, CollectorRegistry()) as port,
        pytest.raises(OSError, match="in use"),
        serving_metrics("127.0.0.1", port, CollectorRegistry()),
    ):
        raise AssertionError("it was bound twice")
    with serving_metrics("127.0.0.1", port, CollectorRegistry()) as again:
        assert again == port


def test_the_server_stops_with_connections_open() -> None:
    with serving_metrics("127.0.0.1", 0, CollectorRegistry()) as port:
        caller = socket.create_connection(("127.0.0.1", port), timeout=10)
        caller.sendall(HALF)
        with get(port) as answer:
            assert answer.status == 200
    with caller:
        assert caller.recv(1) == b""
