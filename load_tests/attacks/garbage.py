"""F10: bytes that are not a request, calls without a request, and calls with two."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from load_tests.attacks.frame import PATIENCE_S, Attack, Bound, Target, honest_caller, scaled
from load_tests.attacks.http2 import SEARCH
from load_tests.attacks.idle import CHECK, WATCH

CALLS = 1000
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
AT_ONCE = 32
WATCH_S = 5.0
"""A watch that the server accepts is held no longer."""
PLAIN: tuple[tuple[bytes, ...], ...] = (
    (b"\xff" * 50,),
    (b"\x0a\xff\xff\xff\xff\x0f",),
    (b"\x22\x02\xc3\x28",),
    (b"\x0b\x0c",),
    (b"",),
    (),
    (b"", b""),
)


async def run(target: Target, share: float) -> list[Bound]:
    """Sends it to every method; searches must be counted and explained, and nothing may be logged as a failure."""
    chance = random.Random(1)
    calls = [PLAIN[number % len(PLAIN)] for number in range(scaled(CALLS, share))]
    calls += [(chance.randbytes(chance.randrange(1, 4000)),) for _ in range(scaled(CALLS, share))]
    tracebacks = target.logged("Traceback")
    before = target.scrape()
    async with honest_caller(target) as seen, target.channel() as channel:
        unexplained = await send(channel, SEARCH, calls, PATIENCE_S)
        for method in (CHECK, WATCH, REFLECT):
            await send(channel, method, calls[: len(PLAIN)], WATCH_S)
    after = target.scrape()
    counted = after.sum("sightline_requests_total", code="INVALID_ARGUMENT") - before.sum(
        "sightline_requests_total", code="INVALID_ARGUMENT"
    )
    return [
        Bound("searches not counted", len(calls) - counted, 0),
        Bound("searches without an explanation", unexplained, 0),
        Bound("tracebacks", target.logged("Traceback") - tracebacks, 0),
        Bound("honest searches that failed", seen.failed, 0),
    ]


async def send(channel: grpc.aio.Channel, path: str, calls: Sequence[tuple[bytes, ...]], timeout_s: float) -> int:
    """One call for each tuple of messages, some at once; returns how many were not explained."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(messages: tuple[bytes, ...]) -> bool:
        async with places:
            call: Any = channel.stream_stream(path, request_serializer=bytes)(timeout=timeout_s)
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                for message in messages:
                    await call.write(message)
                await call.done_writing()
            with suppress(grpc.aio.AioRpcError):
                await call.read()
            code = await call.code()
            call.cancel()
            return code is grpc.StatusCode.INVALID_ARGUMENT and explained(await call.trailing_metadata())

    return sum(not known for known in await asyncio.gather(*(one(messages) for messages in calls)))


def explained(metadata: grpc.aio.Metadata | None) -> bool:
    """Returns whether a status came with ErrorInfo."""
    packed = dict(metadata or ()).get("grpc-status-details-bin")
    if not isinstance(packed, bytes):
        return False
    details = status_pb2.Status.FromString(packed).details
    return any(detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for detail in details)


ATTACK = Attack("garbage", "F10: bytes that are not a request", run)
