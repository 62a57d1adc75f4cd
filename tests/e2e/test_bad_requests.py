"""Thousands of bad and abandoned requests in a row, then a good photo: it gets its answer and nothing stays behind."""

import asyncio
import base64
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from sightline.v1 import geometry_pb2, lens_service_pb2, lens_service_pb2_grpc
from tests.e2e.test_search import scraped
from tests.support.pictures import encode, gradient, noise, png_header, tiff_with_tile, with_scans
from tests.support.world import RunningServer, World, asked, patient_search

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]
COUNT = 3000
CALLERS = 4

PHOTO = encode(gradient(64, 64))
TORN = [encode(noise(64, 64), form) for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]
TILE = tiff_with_tile(16, 16, 16_384, 8192)
SCANS = with_scans(300)
WARNED = encode(noise(64, 64), "PNG")[:2000]


def box(*corners: float) -> geometry_pb2.Region:
    names = ("x_min", "y_min", "x_max", "y_max")
    return geometry_pb2.Region(box=geometry_pb2.BoundingBox(**dict(zip(names, corners, strict=True))))


def torn(chance: random.Random) -> lens_service_pb2.SearchRequest:
    whole = chance.choice(TORN)
    return asked(whole[: chance.randrange(len(whole) // 2)])


KINDS: dict[str, Callable[[random.Random], lens_service_pb2.SearchRequest]] = {
    "nothing": lambda chance: asked(b""),
    "noise": lambda chance: asked(chance.randbytes(chance.randrange(1, 2000))),
    "torn": torn,
    "giant": lambda chance: asked(png_header(60_000, chance.randrange(50_000, 60_000))),
    "tile": lambda chance: asked(TILE),
    "scans": lambda chance: asked(SCANS),
    "heic": lambda chance: asked(b"\0\0\0\x18ftypheic" + chance.randbytes(99)),
    "warning": lambda chance: asked(WARNED),
    "text": lambda chance: asked(base64.b64encode(PHOTO)),
    "box": lambda chance: asked(PHOTO, regions=[box(chance.choice((math.nan, -1.0, 2.0)), 0.0, 1.0, 1.0)]),
    "region": lambda chance: asked(PHOTO, regions=[geometry_pb2.Region()]),
    "regions": lambda chance: asked(PHOTO, regions=[box(0.1, 0.1, 0.9, 0.9)] * 17),
    "cap": lambda chance: asked(PHOTO, max_products=chance.choice((-1, 101, 2**31 - 1))),
    "similarity": lambda chance: asked(PHOTO, min_similarity=chance.choice((math.nan, math.inf, -0.1, 1.1))),
    "lane": lambda chance: asked(PHOTO, lane=chance.randrange(3, 99)),
    "catalog": lambda chance: asked(PHOTO, catalog="x" * chance.randrange(1, 200)),
    "grant": lambda chance: asked(PHOTO, grant="g" * chance.randrange(1, 200)),
    "filter": lambda chance: asked(PHOTO, filter=lens_service_pb2.Filter(brands=["b" * chance.choice((0, 300))])),
}
WANTED = {"INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"}


async def caller(channel: grpc.aio.Channel, seed: int, ends: Counter[str]) -> None:
    """Sends its share of bad requests, and now and then leaves a good one in the middle."""
    chance = random.Random(seed)
    stub = lens_service_pb2_grpc.LensServiceStub(channel)
    for number in range(COUNT // CALLERS):
        if number % 50 == 0:
            ends[await abandon(stub, chance)] += 1
        else:
            kind = chance.choice(list(KINDS))
            ends[await code_of(stub.Search(KINDS[kind](chance), timeout=20))] += 1


async def code_of(call: Any) -> str:
    """The code that a call ends with before any event."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    return str(caught.value.code().name)


async def abandon(stub: Any, chance: random.Random) -> str:
    """A good request that is cancelled after some events."""
    call = stub.Search(asked(PHOTO), timeout=20)
    try:
        for _ in range(chance.randrange(3)):
            await call.read()
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    call.cancel()
    return "abandoned"


async def test_after_thousands_of_bad_requests_a_good_one_is_answered(
    channel: grpc.aio.Channel, server: RunningServer, world: World
) -> None:
    ends: Counter[str] = Counter()
    await asyncio.gather(*(caller(channel, seed, ends) for seed in range(CALLERS)))
    assert ends.total() == COUNT
    assert ends["abandoned"] >= COUNT // 50 // 2
    assert set(ends) - WANTED - {"abandoned", "RESOURCE_EXHAUSTED"} == set()
    assert sum(ends[code] for code in WANTED) == COUNT - COUNT // 50
    answer = await patient_search(channel, asked(world.picture(0)))
    assert answer.best()
    samples = scraped(server, "sightline_")
    assert samples["sightline_in_flight"] == 0
    assert samples['sightline_requests_total{code="INVALID_ARGUMENT",method="Search"}'] >= ends["INVALID_ARGUMENT"]
    assert samples['sightline_requests_total{code="INTERNAL",method="Search"}'] == 0
    log = server.process.log_tail(20_000)
    assert "Traceback" not in log
    assert "libpng" not in log and "Corrupt JPEG" not in log
