"""The overwriting of the engine's memory: its times and its batches."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from sightline_server.triton.faults import Cause, EngineError
from sightline_server.triton.forgetting import Forgetting


@dataclass
class Engine:
    """Records the overwritten batches; a model in `broken` fails."""

    batches: list[tuple[str, int]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    given_back: asyncio.Event = field(default_factory=asyncio.Event)

    async def overwrite(self, model: str, images: int) -> None:
        if model in self.broken:
            raise EngineError(Cause.GONE, "")
        self.batches.append((model, images))


@asynccontextmanager
async def forgetting(engine: Engine, rest_s: float = 0.0) -> AsyncIterator[Forgetting]:
    """A running one for the length of the block."""
    loop = asyncio.get_running_loop()

    def give_back() -> None:
        loop.call_soon_threadsafe(engine.given_back.set)

    made = Forgetting(engine.overwrite, give_back, loop.time, rest_s)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_ran_at_once_is_overwritten_at_once() -> None:
    engine = Engine()
    async with forgetting(engine) as made:
        for images in (4, 3, 2):
            made.began("embedder", images)
        made.ended("embedder", 4)
        made.began("embedder", 1)
        for images in (3, 2, 1):
            made.ended("embedder", images)
        await asyncio.wait_for(engine.given_back.wait(), 10)
    assert engine.batches == [("embedder", 1), ("embedder", 4), ("embedder", 3), ("embedder", 2)]


async def test_nothing_is_overwritten_twice_or_without_a_call() -> None:
    engine = Engine()
    async with forgetting(engine) as made:
        made.began("detector", 2)
        made.ended("detector", 2)
        await asyncio.wait_for(engine.given_back.wait(), 10)
        engine.given_back.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.given_back.wait(), 0.05)
    assert engine.batches == [("detector", 1), ("detector", 2)]


async def test_callers_come_first() -> None:
    engine = Engine()
    async with forgetting(engine, rest_s=0.02) as made:
        made.began("detector", 1)
        made.began("detector", 1)
        made.ended("detector", 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.given_back.wait(), 0.1)
        assert engine.batches == []
        made.ended("detector", 1)
        await asyncio.wait_for(engine.given_back.wait(), 10)
    assert engine.batches == [("detector", 1)] * 3


async def test_an_engine_that_fails_is_tried_again_after_the_next_call() -> None:
    engine = Engine(broken={"embedder"})
    async with forgetting(engine) as made:
        for _ in range(2):
            made.began("embedder", 2)
            made.ended("embedder", 2)
            await asyncio.wait_for(engine.given_back.wait(), 10)
            engine.given_back.clear()
            engine.broken.clear()
    assert engine.batches == [("embedder", 1), ("embedder", 2)]
