"""The states of a client: where it may be used, and the calls of a closed client or with an invalid answer."""

import asyncio
import math
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import grpc
import pytest

from sightline_client import (
    AsyncClient,
    Client,
    ClientOptions,
    ClientStateError,
    ConfigurationError,
    Event,
    InternalError,
    ObjectResults,
    RetryOptions,
    SightlineError,
    StreamBrokenError,
)
from tests.support.fake_lens import ANSWER, FakeLens, Hang, Step, ranked, serving, unavailable

PHOTO = b"\xff\xd8 a photo"


async def test_a_closed_client_says_so() -> None:
    async with serving(FakeLens()) as target:
        client = AsyncClient(target)
        await client.find(PHOTO)
        await client.close()
        await client.close()
        with pytest.raises(ClientStateError, match="the client is closed"):
            await client.find(PHOTO)


async def test_closing_the_client_ends_a_running_search_as_such() -> None:
    fake = FakeLens(lambda _: [ANSWER[0], Hang()])
    async with serving(fake) as target:
        client = AsyncClient(target)
        search = asyncio.create_task(client.find(PHOTO))
        await fake.hanging.wait()
        await client.close()
        with pytest.raises(ClientStateError, match="the client is closed"):
            await search
        await fake.cancelled.wait()


async def test_closing_the_client_ends_a_search_that_nobody_reads() -> None:
    fake = FakeLens(lambda _: [ANSWER[0], Hang()])
    async with serving(fake) as target:
        client = AsyncClient(target)
        events = client.search(PHOTO)
        assert await anext(events) == ANSWER[0]
        await client.close()
        with pytest.raises(ClientStateError):
            await anext(events)


def test_a_client_is_made_anywhere_and_used_in_one_loop() -> None:
    client = AsyncClient("127.0.0.1:1")

    async def search() -> None:
        await client.find(PHOTO)

    with pytest.raises(SightlineError, match="connect"):
        asyncio.run(search())
    with pytest.raises(ClientStateError, match="another event loop"):
        asyncio.run(search())
    with pytest.raises(ClientStateError, match="another event loop"):
        asyncio.run(client.close())


def test_without_a_loop_the_blocking_client_is_named() -> None:
    search = AsyncClient("127.0.0.1:1").search(PHOTO)
    with pytest.raises(ClientStateError, match="use Client"):
        search.__anext__().send(None)


async def test_the_blocking_client_says_that_it_is_closed() -> None:
    def use(target: str) -> None:
        client = Client(target)
        client.find(PHOTO)
        unread = client.search(PHOTO)
        client.close()
        client.close()
        for search in (unread, client.search(PHOTO)):
            with pytest.raises(ClientStateError, match="the client is closed"):
                next(search)

    async with serving(FakeLens()) as target:
        await asyncio.to_thread(use, target)


@pytest.mark.parametrize("step", [Hang(), unavailable(retry_after_s=100)], ids=["answer", "next-attempt"])
async def test_closing_the_blocking_client_wakes_readers_in_other_threads(step: Step) -> None:
    asked = asyncio.Event()
    raised: list[BaseException] = []

    def script(_: int) -> list[Step]:
        asked.set()
        return [step]

    def read(client: Client) -> None:
        try:
            client.find(PHOTO, timeout_s=math.inf)
        except BaseException as error:
            raised.append(error)

    async with serving(FakeLens(script)) as target:
        client = await asyncio.to_thread(Client, target)
        reader = threading.Thread(target=read, args=(client,))
        reader.start()
        await asked.wait()
        await asyncio.to_thread(client.close)
        await asyncio.to_thread(reader.join, 10)
    assert [type(each) for each in raised] == [ClientStateError]


FORK = """
import os
from sightline_client import Client, ClientStateError
with Client("127.0.0.1:1") as client:
    if os.fork():
        raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
    try:
        client.find(b"photo")
    except ClientStateError as error:
        client.close()
        os._exit(7 if "fork" in error.message else 1)
    os._exit(1)
"""


def test_a_client_from_before_a_fork_raises_instead_of_waiting() -> None:
    ran = subprocess.run([sys.executable, "-c", FORK], capture_output=True, timeout=30, check=False)
    assert ran.returncode == 7, ran.stderr


async def raw_server(messages: list[bytes]) -> tuple[grpc.aio.Server, str]:
    async def search(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> AsyncIterator[bytes]:
        for message in messages:
            yield message

    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {"Search": grpc.unary_stream_rpc_method_handler(search)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("sightline.v1.LensService", handlers),))
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    return server, target


@pytest.mark.parametrize("message", [b"\xff\xff\xff\xff", b"\x0a\x03\x0a\x01\xff"], ids=["no-message", "no-utf-8"])
async def test_a_message_that_cannot_be_parsed_is_an_internal_error(message: bytes) -> None:
    server, target = await raw_server([b"\x0a\x03\x0a\x01a", message])
    async with AsyncClient(target) as client:
        with pytest.raises(InternalError, match="not a SearchResponse") as caught:
            await client.find(PHOTO)
    assert len(caught.value.events) == 1
    await server.stop(None)


async def test_a_server_that_goes_away_mid_stream_breaks_the_stream() -> None:
    fake = FakeLens(lambda _: [*ANSWER[:2], Hang()])
    async with serving(fake) as target:
        client = AsyncClient(target)
        stream = client.search(PHOTO)
        # gRPC forgets what a client has not read yet when its server goes away.
        assert [await anext(stream), await anext(stream)] == list(ANSWER[:2])
    with pytest.raises(SightlineError) as caught:
        await anext(stream)
    assert caught.value.events == ANSWER[:2]
    assert isinstance(caught.value, StreamBrokenError) or caught.value.code == "CANCELLED"
    await client.close()


async def test_results_for_an_object_that_was_not_detected_are_left_out() -> None:
    events: list[Event] = [ANSWER[0], ANSWER[1], ObjectResults("other", (ranked("p1", 1),)), ANSWER[-1]]
    async with serving(FakeLens(lambda _: events)) as target, AsyncClient(target) as client:
        answer = await client.find(PHOTO)
    assert [each.products for each in answer.objects] == [(), ()]


@pytest.mark.parametrize("timeout_s", [math.inf, 1e10, 1e300, 10**400], ids=["inf", "1e10", "1e300", "10**400"])
async def test_an_infinite_timeout_is_no_deadline(timeout_s: float) -> None:
    fake = FakeLens()
    async with serving(fake) as target, AsyncClient(ClientOptions(target, timeout_s=timeout_s)) as client:
        await client.find(PHOTO)
        await client.find(PHOTO, timeout_s=timeout_s)
    assert fake.remaining_s == [None, None]


async def test_a_long_timeout_is_a_deadline() -> None:
    fake = FakeLens()
    async with serving(fake) as target, AsyncClient(target) as client:
        await client.find(PHOTO, timeout_s=1e7)
    assert fake.remaining_s[0] == pytest.approx(1e7, rel=0.01)


async def test_without_a_deadline_no_attempt_waits_for_hours() -> None:
    fake = FakeLens(lambda _: [unavailable(retry_after_s=1e9)])
    async with serving(fake) as target, AsyncClient(ClientOptions(target, retry=RetryOptions(attempts=3))) as client:
        with pytest.raises(SightlineError, match="engine"):
            await client.find(PHOTO, timeout_s=math.inf)
    assert len(fake.requests) == 1


@pytest.mark.parametrize("target", ["ipv4:1.2.3.4.5:6", "dns:///"])
async def test_an_address_that_only_grpc_can_judge_is_a_configuration_error(target: str) -> None:
    async with AsyncClient(ClientOptions(target, insecure=True)) as client:
        with pytest.raises(ConfigurationError, match="not an address"):
            await client.find(PHOTO)
