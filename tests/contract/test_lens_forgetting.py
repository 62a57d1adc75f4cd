"""Refused calls are forgotten at once: nothing keeps their request until the garbage collector runs.

While a server rests the collector does not run, so a circle of references would keep a photo without bound.
"""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from sightline.v1 import geometry_pb2
from sightline.v1 import lens_service_pb2 as pb
from sightline_server.domain.request import SearchQuery
from sightline_server.errors import ErrorKind, SightlineError
from tests.support.asking import PHOTO, asked, events_of, kinds
from tests.support.grants import ConsentService
from tests.support.lens import Answer, FakeEngine, Served, serving, until

NOTHING = geometry_pb2.Region(box=geometry_pb2.BoundingBox(x_min=0.5, y_min=0.5, x_max=0.5, y_max=0.5))
REQUESTS: dict[str, dict[str, Any]] = {
    "no image": {"photo": b"no image at all" * 100},
    "truncated": {"photo": PHOTO[: len(PHOTO) // 2]},
    "box": {"regions": [NOTHING]},
    "cap": {"max_products": 100_000},
    "similarity": {"min_similarity": float("nan")},
    "catalog": {"catalog": "unknown"},
    "grant": {"grant": "a.b.c"},
    "filter": {"filter": pb.Filter(brands=["x" * 1000])},
    "several regions": {"regions": [NOTHING] * 50},
}


@contextmanager
def uncollected() -> Iterator[None]:
    """The block runs without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def kept() -> list[str]:
    """The errors and requests of the server that are alive."""
    return [type(each).__name__ for each in gc.get_objects() if isinstance(each, SightlineError | SearchQuery)]


async def refused(served: Served, request: pb.SearchRequest, **options: Any) -> grpc.StatusCode:
    call = served.search(request, **options)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await events_of(call)
    await until(lambda: served.value("open_calls") == 0)
    return error.value.code()


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_refused_call_leaves_nothing_in_memory(name: str) -> None:
    async with serving() as served:
        with uncollected():
            before = kept()
            await refused(served, asked(**REQUESTS[name]))
            assert kept() == before


@pytest.mark.parametrize("grant", ["", "a.b.c"], ids=["missing", "invalid"])
async def test_a_call_that_is_refused_by_its_grant_leaves_nothing_in_memory(tmp_path: Path, grant: str) -> None:
    async with serving(consent=ConsentService(tmp_path).settings()) as served:
        with uncollected():
            before = kept()
            await refused(served, asked(grant=grant))
            assert kept() == before


def away(batch: int) -> Answer:
    raise SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the engine is away")


async def test_a_call_whose_detector_fails_leaves_nothing_in_memory() -> None:
    engine = FakeEngine()
    engine.models["detector"].replies = [away]
    async with serving(engine=engine) as served:
        with uncollected():
            before = kept()
            await refused(served, asked())
            assert kept() == before


async def test_objects_whose_embedder_fails_leave_nothing_in_memory(caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine()
    engine.models["embedder"].replies = [broken, broken]
    # Records of a test keep the error.
    caplog.set_level(logging.CRITICAL, "sightline_server.search.outcomes")
    async with serving(engine=engine) as served:
        with uncollected():
            before = kept()
            assert "failure" in kinds(await events_of(served.search(asked())))
            await until(lambda: served.value("open_calls") == 0)
            assert kept() == before


def broken(batch: int) -> Answer:
    raise SightlineError(ErrorKind.MODEL_ANSWER, "the answer is not usable")


async def test_a_call_past_its_deadline_leaves_nothing_in_memory() -> None:
    engine = FakeEngine()
    engine.models["detector"].gate.clear()
    async with serving(engine=engine) as served:
        with uncollected():
            before = kept()
            assert await refused(served, asked(), timeout=0.3) is grpc.StatusCode.DEADLINE_EXCEEDED
            assert kept() == before


async def test_a_call_of_an_unknown_method_leaves_nothing_in_memory() -> None:
    """Its message, which may be a photo, is kept by its call, and that by the error of `abort`."""
    async with serving() as served:
        unknown: Any = served.channel.unary_unary("/sightline.v1.LensService/SearchEverything")
        with uncollected():
            with pytest.raises(grpc.aio.AioRpcError):
                await unknown(PHOTO)
            await until(lambda: not [each for each in gc.get_objects() if type(each).__name__ == "AbortError"])
