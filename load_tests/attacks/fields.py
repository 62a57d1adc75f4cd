"""F2: small requests that become large ones when they are parsed, compressed or not.

The server runs with asyncio's debug mode, which logs each callback that held its event loop for 100 ms.
"""

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from typing import Any

import grpc

from load_tests.attacks.frame import Attack, Bound, Target, honest_caller, scaled, watched_memory
from load_tests.attacks.http2 import SEARCH

CALLS = 16
LARGEST = 21 * 1024 * 1024 - 64
PLAIN = 4_000_000
"""Bytes of a body that is not compressed. gRPC itself may copy a larger one for longer than the loop may be held."""
EMPTY_REGION, EMPTY_PHOTO, EMPTY_BRAND, GROUP, FILTER = b"\x12\x00", b"\x0a\x00", b"\x0a\x00", b"\xfb\x07", b"\x1a"
HELD = "Executing <"


def nested() -> bytes:
    """A filter with millions of empty brands."""
    return FILTER + varint(PLAIN) + EMPTY_BRAND * (PLAIN // 2)


def varint(number: int) -> bytes:
    """`number` as protobuf writes it."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


BODIES: dict[str, Callable[[], bytes]] = {
    "regions": lambda: EMPTY_REGION * (PLAIN // 2),
    "photos": lambda: EMPTY_PHOTO * (PLAIN // 2),
    "groups": lambda: GROUP * (PLAIN // 2),
    "brands": nested,
    "regions, compressed": lambda: EMPTY_REGION * (LARGEST // 2),
}


async def run(target: Target, share: float) -> list[Bound]:
    """Sends each body from as many callers at once, while an honest caller goes on."""
    before, held, calls = target.scrape(), target.logged(HELD), scaled(CALLS, share)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as attacker, watched_memory(target) as memory:
        async with honest_caller(target) as seen:
            loop = asyncio.get_running_loop()
            for name in BODIES:
                await loop.run_in_executor(attacker, send, target.address, name, calls)
    after = target.scrape()
    counted = after.sum("sightline_requests_total", code="INVALID_ARGUMENT") - before.sum(
        "sightline_requests_total", code="INVALID_ARGUMENT"
    )
    return [
        Bound("MB of memory at the peak", memory.grown, 400),
        Bound("times that the event loop was held for 100 ms", target.logged(HELD) - held, 0),
        Bound("s of the slowest probe", seen.slowest_probe, 1.0),
        Bound("honest searches that failed", seen.failed, 0),
        Bound("calls not counted", calls * len(BODIES) - counted, 0),
    ]


def send(address: str, name: str, calls: int) -> None:
    """Sends the body called `name` in `calls` calls at once; keeps its process busy."""
    compression = grpc.Compression.Gzip if "compressed" in name else None
    asyncio.run(send_at_once(address, [BODIES[name]()] * calls, compression))


async def send_at_once(address: str, bodies: list[bytes], compression: grpc.Compression | None) -> None:
    """One call for each body, all at once on one connection."""
    async with grpc.aio.insecure_channel(address, compression=compression) as channel:
        method: Any = channel.unary_stream(SEARCH, request_serializer=bytes)

        async def one(body: bytes) -> None:
            with suppress(grpc.aio.AioRpcError):
                async for _ in method(body, timeout=60):
                    pass

        await asyncio.gather(*(one(body) for body in bodies))


ATTACK = Attack("fields", "F2: requests that grow when they are parsed", run, {"PYTHONASYNCIODEBUG": "1"})
