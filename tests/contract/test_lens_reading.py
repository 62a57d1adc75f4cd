"""The message of a search on its way in: what is refused before it is read, while it is read, and once it is there."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest

from load_tests.attacks.http2 import SEARCH, Connection
from load_tests.attacks.idle import CHECK, WATCH
from sightline.v1 import lens_service_pb2
from tests.support.asking import PHOTO, asked, events_of, kinds
from tests.support.lens import Failed, Served, failed, serving, until

SMALL = {"max_photo_bytes": 200_000}
ONE_READ = 200_000 + 1024 * 1024
"""Bytes that a read reserves under `SMALL`."""


def stream(channel: grpc.aio.Channel, **options: Any) -> Any:
    """A search as a stream of raw messages both ways."""
    parse = lens_service_pb2.SearchResponse.FromString
    return channel.stream_stream(SEARCH, request_serializer=bytes, response_deserializer=parse)(**options)


async def sent(served: Served, messages: Sequence[bytes], **options: Any) -> Failed:
    """The failure of a call with these messages."""
    call = stream(served.channel, **options)
    for message in messages:
        await call.write(message)
    await call.done_writing()
    return await failed(call)


@asynccontextmanager
async def idle(served: Served, calls: int = 1) -> AsyncIterator[list[Any]]:
    """Calls on a separate connection whose message does not come."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(served.address, options=own) as channel:
        opened = [stream(channel, timeout=30) for _ in range(calls)]
        for call in opened:
            await call.wait_for_connection()
        yield opened
        for call in opened:
            call.cancel()


@pytest.fixture
def quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log, which must hold no error in the end."""
    with caplog.at_level(logging.INFO):
        yield caplog
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


GOOD = asked().SerializeToString()
NO_REQUEST: dict[str, tuple[list[bytes], str]] = {
    "bytes": ([b"\xff" * 50], "SearchRequest"),
    "a length beyond the end": ([b"\x0a\xff\xff\xff\xff\x0f"], "SearchRequest"),
    "a region of bytes": ([b"\x12\x03abc"], "SearchRequest"),
    "many regions": ([b"\x12\x00" * 65], "more than 64 fields"),
    "a large filter": ([b"\x1a\x80\x80\x80\x01" + b"\x0a\x00" * (1 << 20)], "in addition to the photo"),
    "no message": ([], "without a request"),
    "two messages": ([GOOD, GOOD], "more than one request"),
    "two empty messages": ([b"", b""], "more than one request"),
}


@pytest.mark.parametrize("name", NO_REQUEST)
async def test_what_is_no_request_is_invalid_argument_and_counted(
    name: str, quiet_log: pytest.LogCaptureFixture
) -> None:
    messages, words = NO_REQUEST[name]
    async with serving() as served:
        error = await sent(served, messages)
        assert (error.events, error.code, error.reason) == ([], grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert words in error.message
        assert set(error.details) == {"ErrorInfo", "BadRequest"}
        await until(lambda: served.value("requests_total", method="Search", code="INVALID_ARGUMENT") == 1)
        assert kinds(await events_of(served.search(asked())))[-1] == "done"
        lines = [record for record in quiet_log.records if record.getMessage() == "Search"]
        assert [getattr(record, "code", "") for record in lines] == ["INVALID_ARGUMENT", "OK"]


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_a_compressed_request_is_refused_without_being_unpacked(algorithm: grpc.Compression) -> None:
    async with serving() as served, grpc.aio.insecure_channel(served.address, compression=algorithm) as channel:
        raw: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(SEARCH, request_serializer=bytes)
        error = await failed(raw(b"\x12\x00" * 1_000_000))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert "compressed" in error.message
        assert served.value("requests_total", method="Search", code="INVALID_ARGUMENT") == 1


async def test_a_request_that_compression_would_not_shrink_is_answered() -> None:
    async with (
        serving() as served,
        grpc.aio.insecure_channel(served.address, compression=grpc.Compression.Gzip) as channel,
    ):
        raw = channel.unary_stream(
            SEARCH, request_serializer=bytes, response_deserializer=lens_service_pb2.SearchResponse.FromString
        )
        noise = random.Random(0).randbytes(200)
        error = await failed(raw(lens_service_pb2.SearchRequest(photo=noise).SerializeToString()))
        assert error.reason == "INVALID_IMAGE"


async def test_a_message_over_the_limit_leaves_no_error_in_the_log(quiet_log: pytest.LogCaptureFixture) -> None:
    async with serving(limits=SMALL) as served:
        error = await failed(served.search(asked(photo=bytes(ONE_READ + 100))))
        assert (error.events, error.code) == ([], grpc.StatusCode.RESOURCE_EXHAUSTED)
        await until(lambda: served.value("open_calls") == 0)
        assert served.value("request_bytes") == 0
    assert quiet_log.records


@pytest.mark.parametrize("path", [CHECK, WATCH])
async def test_a_health_message_over_the_limit_leaves_no_error_in_the_log(
    path: str, quiet_log: pytest.LogCaptureFixture
) -> None:
    async with serving(limits=SMALL) as served:
        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
        method = served.channel.stream_stream(path, request_serializer=bytes)
        call = method(timeout=5)
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(bytes(ONE_READ + 100))
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not [record for record in quiet_log.records if record.exc_info]


async def test_a_full_server_refuses_before_the_message_comes() -> None:
    async with serving(limits={"max_concurrent_calls": 2}) as served:
        served.engine.models["detector"].gate.clear()
        inside = [served.search(asked()) for _ in range(2)]
        for call in inside:
            assert (await call.read()).WhichOneof("event") == "accepted"
        error = await failed(stream(served.channel))
        assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.details["ErrorInfo"].metadata["limit"] == "concurrency"
        assert served.value("refused_calls_total", limit="concurrency") == 1
        served.engine.models["detector"].gate.set()
        for call in inside:
            assert kinds(await events_of(call))[-1] == "done"


async def test_a_server_that_is_not_ready_refuses_before_the_message_comes() -> None:
    async with serving(opened=False) as served:
        error = await failed(stream(served.channel))
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_UNAVAILABLE")


async def test_idle_calls_hold_no_place_of_a_search() -> None:
    async with serving(limits={"max_concurrent_calls": 2}) as served, idle(served, 20):
        await until(lambda: served.value("open_calls") == 20)
        assert served.value("in_flight") == 0
        assert kinds(await events_of(served.search(asked())))[-1] == "done"


async def test_an_idle_call_ends_at_the_servers_deadline() -> None:
    async with serving(limits={"default_deadline_s": 0.2}) as served:
        error = await failed(stream(served.channel))
        assert (error.code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert served.value("request_bytes") == served.value("open_calls") == 0


async def test_an_upload_below_the_least_rate_ends_before_its_deadline() -> None:
    async with serving(limits={**SMALL, "min_upload_rate": 5 * ONE_READ}) as served:
        error = await failed(stream(served.channel, timeout=30))
        assert (error.code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
        assert error.details["ErrorInfo"].metadata["limit"] == "min_upload_rate"


async def test_a_search_may_take_longer_than_its_upload_may() -> None:
    async with serving(limits={**SMALL, "min_upload_rate": ONE_READ}) as served:
        detector = served.engine.models["detector"]
        detector.gate.clear()
        call = served.search(asked(), timeout=30)
        await call.read()
        await asyncio.sleep(1.2)
        detector.gate.set()
        assert kinds(await events_of(call))[-1] == "done"


async def test_a_slow_upload_does_not_count_as_a_slow_answer() -> None:
    async with serving() as served:
        call = stream(served.channel)
        await call.wait_for_connection()
        await until(lambda: served.value("open_calls") == 1)
        await asyncio.sleep(0.5)
        await call.write(GOOD)
        await call.done_writing()
        assert kinds(await events_of(call))[-1] == "done"
        assert served.value("first_result_seconds_count") == 1
        # Both in one process's clock: what differs is the wait for the request.
        whole = served.value("request_seconds_sum", method="Search", code="OK")
        assert whole - served.value("first_result_seconds_sum") > 0.4


async def test_a_request_that_is_not_ended_is_not_answered() -> None:
    async with serving(limits={"default_deadline_s": 0.3}) as served:
        call = stream(served.channel)
        await call.write(GOOD)
        error = await failed(call)
        assert (error.events, error.code) == ([], grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_reads_stay_within_the_budget_and_old_ones_give_way_to_others() -> None:
    limits = {**SMALL, "request_budget_bytes": 3 * ONE_READ, "max_deadline_s": 3.0}
    async with serving(limits=limits) as served, idle(served, 8) as calls:
        await until(lambda: served.value("open_calls") == 8)
        assert served.value("request_bytes") == 3 * ONE_READ
        assert kinds(await events_of(served.search(asked())))[-1] == "done"
        assert served.value("request_bytes") <= 3 * ONE_READ
        errors = await asyncio.gather(*(failed(call) for call in calls))
        gave_way = [error for error in errors if error.code is grpc.StatusCode.RESOURCE_EXHAUSTED]
        assert {error.details["ErrorInfo"].metadata["limit"] for error in gave_way} == {"slow_upload"}
        assert len(gave_way) == served.value("refused_calls_total", limit="slow_upload") >= 5
    await until(lambda: served.value("request_bytes") == 0)


async def test_what_a_search_holds_is_what_its_request_takes() -> None:
    async with serving() as served:
        served.engine.models["detector"].gate.clear()
        call = served.search(asked())
        await call.read()
        assert served.value("request_bytes") == len(GOOD)
        served.engine.models["detector"].gate.set()
        await events_of(call)
        await until(lambda: served.value("request_bytes") == 0)


async def test_a_caller_that_leaves_while_it_uploads_leaves_nothing_behind() -> None:
    async with serving() as served:
        with Connection(served.address) as connection:
            uploading = connection.open()
            connection.send(uploading, memoryview(b"\x00\x00\x10\x00\x00half"))
            await until(lambda: served.value("open_calls") == 1)
        await until(lambda: served.value("open_calls") == 0)
        assert served.value("request_bytes") == served.value("in_flight") == 0
        await until(lambda: served.value("requests_total", method="Search", code="CANCELLED") == 1)


async def test_calls_that_are_reset_at_once_do_not_end_those_of_others() -> None:
    async with serving() as served:
        with Connection(served.address) as connection:
            for _ in range(40):
                connection.open_and_reset(100)
                connection.listen()
                assert kinds(await events_of(served.search(asked())))[-1] == "done"
        await until(lambda: served.value("open_calls") == 0)


async def test_a_stop_ends_calls_whose_message_has_not_come() -> None:
    async with serving() as served, idle(served, 2) as calls:
        await until(lambda: served.value("open_calls") == 2)
        await asyncio.wait_for(served.door.close(30.0), 10)
        for call in calls:
            error = await failed(call)
            assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STOPPING")


async def test_the_message_is_not_in_memory_once_its_photo_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The photo is there once: neither the bytes that were read nor the message made of them are kept."""
    holders: list[int] = []

    async with serving() as served:
        photo = PHOTO + bytes(150_001)
        run = served.pipeline.run

        def watched(query: Any, catalog: Any) -> Any:
            import gc

            gc.collect()
            holders.append(sum(isinstance(kept, lens_service_pb2.SearchRequest) for kept in gc.get_objects()))
            return run(query, catalog)

        monkeypatch.setattr(served.pipeline, "run", watched)
        raw = lens_service_pb2.SearchRequest(photo=photo).SerializeToString()
        call = stream(served.channel)
        await call.write(raw)
        await call.done_writing()
        await events_of(call)
    assert holders == [0]
