"""Images of products are decoded and embedded while no search is inside, through the parts of the real server."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from sightline.v1 import lens_service_pb2 as pb
from sightline_server.app.parts import build_served_images
from sightline_server.app.transfers import batched_embed
from sightline_server.domain.models import BatchCost
from sightline_server.ingest.served_images import PORTION, ServedImages
from tests.support.catalog_service import png
from tests.support.lens import FakeEngine, FakeRunner, Served, serving, until

FAR = math.inf


@dataclass
class Bench:
    """A server whose background work waits for searches however long they take."""

    served: Served
    images: ServedImages

    @property
    def detector(self) -> FakeRunner:
        return self.served.engine.models["detector"]

    @property
    def embedder(self) -> FakeRunner:
        return self.served.engine.models["embedder"]

    async def search(self, lane: Any = pb.LANE_INTERACTIVE) -> "asyncio.Task[list[str]]":
        """A search that waits in the detector."""
        self.detector.gate.clear()
        self.detector.started.clear()
        task = asyncio.create_task(self._events(pb.SearchRequest(photo=png(), lane=lane)))
        await self.detector.started.wait()
        return task

    async def _events(self, request: pb.SearchRequest) -> list[str]:
        return [str(event.WhichOneof("event")) async for event in self.served.search(request, timeout=60)]


async def turns() -> None:
    """Lets every task go on that can."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest_asyncio.fixture(params=[BatchCost.LINEAR, BatchCost.SHARED], ids=["linear", "shared"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    engine = FakeEngine()
    engine.embedder = replace(engine.embedder, batch_cost=request.param)
    async with serving(engine=engine) as served, AsyncExitStack() as stack:
        served.core.batchers.background._rest = served.core.batchers.background._longest_s = 1e6
        images = build_served_images(stack, served.front, served.core).of(engine.embedder)
        assert isinstance(images, ServedImages)
        yield Bench(served, images)


async def test_an_image_waits_for_the_search_inside(bench: Bench) -> None:
    search = await bench.search()
    written = asyncio.create_task(bench.images.embed([png()], deadline=FAR))
    await turns()
    assert not written.done()
    assert bench.embedder.batches == []
    bench.detector.gate.set()
    assert (await search)[-1] == "done"
    assert [each.shape for each in await written] == [(1, 4)]
    # The crops of the search, then the image.
    assert bench.embedder.batches[-1] == 1
    assert sum(bench.embedder.batches) == 3


async def test_an_image_that_was_decoded_waits_for_a_search_that_came_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, go_on = asyncio.Event(), asyncio.Event()
    decode = bench.images._threads.decode

    async def slow(*arguments: Any, **named: Any) -> Any:
        crop: Any = await decode(*arguments, **named)
        decoded.set()
        await go_on.wait()
        return crop

    monkeypatch.setattr(bench.images._threads, "decode", slow)
    written = asyncio.create_task(bench.images.embed([png()], deadline=FAR))
    await decoded.wait()
    search = await bench.search()
    go_on.set()
    await turns()
    assert bench.embedder.batches == []
    bench.detector.gate.set()
    await search
    await written
    assert bench.embedder.batches[-1] == 1


async def test_an_image_does_not_wait_for_a_search_of_the_batch_lane(bench: Bench) -> None:
    search = await bench.search(pb.LANE_BATCH)
    await bench.images.embed([png()], deadline=FAR)
    assert bench.embedder.batches == [1]
    bench.detector.gate.set()
    await search


async def test_an_image_does_not_wait_for_a_caller_that_left(bench: Bench) -> None:
    search = await bench.search()
    written = asyncio.create_task(bench.images.embed([png()], deadline=FAR))
    search.cancel()
    await until(search.done)
    bench.detector.gate.set()
    await written


async def test_images_of_products_and_of_imports_take_turns(bench: Bench) -> None:
    """Never two batches at once, each as large as suits the device."""
    size = PORTION if bench.served.engine.embedder.batch_cost is BatchCost.SHARED else 1
    core = bench.served.core
    embedder, batchers = bench.served.engine.embedder, core.batchers
    imported = batched_embed(embedder, batchers.crops_of[embedder.identity], batchers.background)
    crops = [np.full((16, 16, 3), shade, np.uint8) for shade in range(10)]
    bench.embedder.gate.clear()
    tasks: list[asyncio.Future[Any]] = [
        asyncio.create_task(bench.images.embed([png(), png()], deadline=FAR)),
        asyncio.ensure_future(imported(crops)),
        asyncio.create_task(bench.images.embed([png()], deadline=FAR)),
    ]
    await bench.embedder.started.wait()
    await turns()
    assert len(bench.embedder.batches) == 1
    bench.embedder.gate.set()
    assert [len(await task) for task in tasks] == [2, 10, 1]
    assert max(bench.embedder.batches) == size
    assert sum(bench.embedder.batches) == 13
