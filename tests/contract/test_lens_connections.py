"""Limits of a connection: bytes of metadata, and number of pings."""

import asyncio
import struct

import grpc
import pytest

from sightline.v1 import lens_service_pb2_grpc
from tests.support.asking import asked, events_of, kinds
from tests.support.lens import Served, failed, serving

OWN_BYTES = 1024
"""More than what gRPC's own headers of a call take, 32 bytes for each header included."""


def metadata(size: int) -> tuple[tuple[str, str], ...]:
    return (("authorization", "Bearer " + "x" * (size - 7)),)


@pytest.mark.parametrize("limit", [None, 4096, 65536])
async def test_metadata_up_to_the_limit_is_taken_every_time(limit: int | None) -> None:
    settings = {} if limit is None else {"max_metadata_bytes": limit}
    async with serving(server=settings) as served:
        size = (limit or 16 * 1024) - OWN_BYTES
        for _ in range(20):
            assert kinds(await events_of(served.search(asked(), metadata=metadata(size))))[-1] == "done"


@pytest.mark.parametrize("limit", [4096, 16384, 65536])
@pytest.mark.parametrize("many", [False, True], ids=["one value", "many values"])
async def test_metadata_beyond_the_limit_is_refused_every_time_with_its_size(limit: int, many: bool) -> None:
    async with serving(server={"max_metadata_bytes": limit}) as served:
        too_much = tuple((f"x-part-{n}", "x" * 100) for n in range(limit // 100)) if many else metadata(limit + 8)
        for _ in range(4):
            error = await failed(served.search(asked(), metadata=too_much))
            assert (error.events, error.code) == ([], grpc.StatusCode.RESOURCE_EXHAUSTED)
            # With many headers gRPC's message names all of them, and may not fit into what it sends itself.
            assert many or ("metadata" in error.message and str(limit) in error.message)
        assert kinds(await events_of(served.search(asked())))[-1] == "done", "over the same connection"


async def test_metadata_beyond_the_limit_ends_no_call_of_the_same_connection() -> None:
    async with serving() as served:
        embedder = served.engine.models["embedder"]
        embedder.gate.clear()
        running = served.search(asked())
        assert [(await running.read()).WhichOneof("event") for _ in range(2)] == ["accepted", "detected"]
        for size in (17_000, 1_000_000):
            assert (await failed(served.search(asked(), metadata=metadata(size)))).events == []
        embedder.gate.set()
        assert kinds(await events_of(running))[-1] == "done"


async def test_the_details_of_a_refusal_fit_into_the_metadata_of_any_client() -> None:
    """Clients have limits too: 8 KiB in gRPC's C and Java libraries unless they are configured otherwise."""
    small = [("grpc.max_metadata_size", 2048), ("grpc.absolute_max_metadata_size", 2048)]
    requests = [asked(max_objects=2**31 - 1), asked(catalog="c" * 100_000), asked(grant="g" * 100_000)]
    async with serving() as served, grpc.aio.insecure_channel(served.address, options=small) as channel:
        for request in requests:
            error = await failed(lens_service_pb2_grpc.LensServiceStub(channel).Search(request))
            assert error.details["ErrorInfo"].reason


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACKNOWLEDGED = 1
ENHANCE_YOUR_CALM = 11


def frame(kind: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, 0]) + struct.pack(">I", 0) + payload


class Pinger:
    """An HTTP/2 connection without a call, which sends pings and reads frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        writer.write(PREFACE + frame(SETTINGS))

    @classmethod
    async def connect(cls, served: Served) -> "Pinger":
        host, _, port = served.address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    def ping(self, *numbers: int) -> None:
        self._writer.write(b"".join(frame(PING, number.to_bytes(8, "big")) for number in numbers))

    async def until(self, kind: int, flags: int) -> bytes:
        """The payload of the next frame of this kind; the server also sends its own settings and pings."""
        while True:
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
            if (head[3], head[4]) == (kind, flags):
                return payload

    def close(self) -> None:
        self._writer.close()


async def test_a_ping_is_answered_and_pings_too_often_end_the_connection_with_a_reason() -> None:
    async with serving() as served, asyncio.timeout(60):
        pinger = await Pinger.connect(served)
        pinger.ping(1)
        assert await pinger.until(PING, ACKNOWLEDGED) == (1).to_bytes(8, "big")
        pinger.ping(*range(2, 8))
        goaway = await pinger.until(GOAWAY, 0)
        assert int.from_bytes(goaway[4:8], "big") == ENHANCE_YOUR_CALM
        assert goaway[8:] == b"too_many_pings"
        pinger.close()
