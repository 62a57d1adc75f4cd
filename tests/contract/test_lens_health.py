"""Health while searches and other probes press: never refused by searches, and bounded itself."""

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from load_tests.attacks.http2 import Connection
from load_tests.attacks.idle import CHECK, KINDS, WATCH
from sightline_server.rpc import guard, health, probe_requests
from tests.support.asking import asked, events_of, kinds
from tests.support.lens import Served, details_of, failed, serving, until

SERVING = health_pb2.HealthCheckResponse.SERVING
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
OWN = [("grpc.use_local_subchannel_pool", 1)]


async def checked(served: Served, **options: Any) -> int:
    """The answer to a check on a separate connection."""
    async with grpc.aio.insecure_channel(served.address, options=OWN) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5, **options)
        return int(answer.status)


def raw(served: Served, path: str) -> grpc.aio.StreamStreamMultiCallable[bytes, bytes]:
    """A method that sends and receives bytes."""
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
    method = served.channel.stream_stream(path, request_serializer=bytes)
    return method


async def test_searches_that_fill_the_server_leave_health_its_answer() -> None:
    async with serving(limits={"max_concurrent_calls": 1, "max_open_calls": 1}) as served:
        served.engine.models["detector"].gate.clear()
        call = served.search(asked())
        await call.read()
        assert (await failed(served.search(asked()))).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await checked(served) == SERVING
        served.engine.models["detector"].gate.set()
        assert kinds(await events_of(call))[-1] == "done"


@pytest.mark.parametrize("kind", KINDS)
async def test_idle_calls_of_one_connection_leave_others_their_answers(kind: str) -> None:
    path, sent = KINDS[kind]
    async with serving() as served:
        with Connection(served.address) as connection:
            for _ in range(200):
                stream = connection.open(path)
                if sent:
                    connection.send(stream, memoryview(sent))
            assert await checked(served) == SERVING
            async with grpc.aio.insecure_channel(served.address, options=OWN) as served.channel:
                assert kinds(await events_of(served.search(asked(), timeout=5)))[-1] == "done"
        await until(lambda: served.value("open_calls") == served.value("watches") == 0)


async def test_watches_of_one_connection_are_bounded() -> None:
    async with serving() as served:
        stub = health_pb2_grpc.HealthStub(served.channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(health.MOST_WATCHES_OF_ONE)]
        for watch in watches:
            assert (await watch.read()).status == SERVING
        assert served.value("watches") == health.MOST_WATCHES_OF_ONE
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Watch(health_pb2.HealthCheckRequest()).read()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details_of(caught.value)["ErrorInfo"].metadata["limit"] == "connection_watches"
        assert served.value("refused_calls_total", limit="connection_watches") == 1
        for watch in watches:
            watch.cancel()
        await until(lambda: served.value("watches") == 0)
        assert (await stub.Watch(health_pb2.HealthCheckRequest()).read()).status == SERVING


async def test_a_watch_of_an_unknown_service_is_told_so_and_goes_on() -> None:
    async with serving() as served:
        watch = health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest(service="other"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        served.engine.ready = False
        await until(lambda: not served.door.health._tasks)
        assert not watch.done()
        watch.cancel()


@pytest.mark.parametrize("path", [CHECK, WATCH])
@pytest.mark.parametrize("messages", [[b"\xff" * 20], [b"\x0a\x02\xc3\x28"], []], ids=["bytes", "not UTF-8", "nothing"])
async def test_bytes_that_are_no_health_request_are_explained(
    path: str, messages: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as served:
        call = raw(served, path)(timeout=5)
        for message in messages:
            await call.write(message)
        await call.done_writing()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert details_of(caught.value)["ErrorInfo"].reason == "INVALID_REQUEST"
    assert [record for record in caplog.records if record.exc_info] == []


async def test_a_health_request_that_does_not_come_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_requests, "READ_S", 0.1)
    async with serving() as served:
        call = raw(served, CHECK)(timeout=5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert details_of(caught.value)["ErrorInfo"].metadata["limit"] == "slow_probe"


async def test_bytes_that_are_no_reflection_request_are_answered(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as served:
        call = raw(served, REFLECT)(timeout=5)
        await call.write(b"\xff" * 20)
        await call.done_writing()
        assert await call.read()
        assert await call.read() is grpc.aio.EOF
    assert [record for record in caplog.records if record.exc_info] == []


async def test_reflections_are_bounded_in_number_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SECONDS", 0.2)
    async with serving() as served:
        reflect = raw(served, REFLECT)
        calls = [reflect(timeout=5) for _ in range(guard.MOST_OF_ONE + 1)]
        codes = [await call.code() for call in calls]
        assert sorted(code.name for code in codes) == [
            *["DEADLINE_EXCEEDED"] * guard.MOST_OF_ONE,
            "RESOURCE_EXHAUSTED",
        ]
