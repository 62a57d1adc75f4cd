"""Calls of methods that the server does not have are refused, whatever their names, and other calls go on."""

import asyncio
import logging
from typing import Any

import grpc
import pytest

from load_tests.attacks.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, SEARCH, Connection, frame, request_headers
from tests.support.asking import asked, events_of, kinds
from tests.support.lens import FakeSnapshot, serving

PLACE = "@"
NAMES = {
    "not UTF-8": b"/\xff",
    "not UTF-8, of a service": b"/sightline.v1.LensService/\xc3",
    "a lone surrogate": b"/\xed\xa0\x80",
    "too long a form": b"/\xc0\xaf",
    "only a byte": b"\x80",
    "empty": b"",
    "no slash": b"x",
    "only slashes": b"///",
    "another case": b"/sightline.v1.LensService/search",
    "letters beyond ASCII": "/söögi/päev".encode(),
    "long": b"/" + b"a" * 100,
}
ANSWER_S = 20.0


class RawCaller(Connection):
    """A caller whose method has any name."""

    def call(self, name: bytes) -> int:
        """Begins a call of a method; returns its stream."""
        return self.send_block(
            request_headers(PLACE).replace(bytes([len(PLACE)]) + PLACE.encode(), bytes([len(name)]) + name)
        )

    def send_block(self, block: bytes) -> int:
        """Begins a call with these headers and an empty message; returns its stream."""
        stream = self._take()
        self._socket.sendall(frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, b"\0" * 5))
        return stream


def answered(address: str, names: list[bytes], *, whole: bool = False) -> bool:
    """Returns whether the server ends a call of each name, on one connection that goes on.

    With `whole`, each is a header block instead.
    """
    with RawCaller(address) as caller:
        streams = {caller.send_block(name) if whole else caller.call(name) for name in names}
        waits = 0
        while not streams <= caller.ended and waits < ANSWER_S / 0.1:
            caller.listen(0.1)
            waits += 1
        return streams <= caller.ended


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_a_method_of_any_name_is_refused_and_other_calls_go_on(
    name: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(index=FakeSnapshot("default")) as served:
        served.index.gate.clear()
        inside = asyncio.create_task(events_of(served.search(asked())))
        await served.index.started.wait()
        assert await asyncio.to_thread(answered, served.address, [name] * 3)
        served.index.gate.set()
        assert kinds(await inside)[-1] == "done"
        assert kinds(await events_of(served.search(asked())))[-1] == "done"
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("path", ["/sightline.v1.LensService/Find", "/sightline.v1.CatalogService/GetCatalog", "/a/b"])
async def test_an_unknown_method_is_unimplemented_with_the_message_that_clients_know(path: str) -> None:
    async with serving(index=FakeSnapshot("default")) as served:
        for kind in ("unary_unary", "stream_stream"):
            call = getattr(served.channel, kind)(path)(b"" if kind == "unary_unary" else None, timeout=30)
            assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
            assert await call.details() == "Method not found!"


async def test_metadata_that_is_not_utf8_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    secret = b"s3cr3t-\xff"
    block = request_headers(SEARCH)
    for name in (b"authorization", b"sightline-grant", b"x-other"):
        block += b"\x00" + bytes([len(name)]) + name + bytes([len(secret)]) + secret
    with caplog.at_level(logging.DEBUG):
        async with serving(index=FakeSnapshot("default")) as served:
            assert await asyncio.to_thread(answered, served.address, [block], whole=True)
            assert kinds(await events_of(served.search(asked())))[-1] == "done"
    shown = "\n".join(str(vars(each)) + str(each.exc_info) for each in caplog.records)
    assert "s3cr3t" not in shown
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR] == []


async def test_many_unknown_methods_at_once_are_refused_and_a_stop_waits_for_none() -> None:
    async with serving(index=FakeSnapshot("default")) as served:
        assert await asyncio.to_thread(answered, served.address, [*NAMES.values()] * 8)
        method: Any = served.channel.unary_unary("/a/b")
        codes = [asyncio.create_task(method(b"", timeout=30).code()) for _ in range(50)]
        assert set(await asyncio.gather(*codes)) == {grpc.StatusCode.UNIMPLEMENTED}
        with RawCaller(served.address) as caller:
            caller.call(b"/\xff")
