"""The embedder as the build sees it: batches that the engine takes, and patience with an engine that recovers by
itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.domain.models import EMBEDDER, AnyRole, Role, SpecT
from sightline_server.domain.text_encoders import ServedTextEncoder
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.embedding import RETRIES, engine_embed
from sightline_server.ports import Engine, ModelRunner
from tests.support.catalogs import DIMENSION, SPEC, shade_embed

GONE = SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the engine is gone")


class ScriptedEngine:
    """An engine whose embedder fails as scripted; it is ready again only if `mends` is true."""

    def __init__(self, failures: Sequence[SightlineError] = (), *, mends: bool = True) -> None:
        self.batches: list[int] = []
        self._failures = list(failures)
        self._mends = mends
        self._listeners: list[Callable[[bool], None]] = []
        self.ready = True

    def spec(self, role: Role[SpecT]) -> SpecT:
        assert role == EMBEDDER, "a build detects nothing"
        return cast(SpecT, replace(SPEC, max_batch_size=4))

    @property
    def embedders(self) -> ServedEmbedders:
        raise AssertionError("a build gets its embedder")

    @property
    def text_encoders(self) -> Mapping[str, ServedTextEncoder]:
        raise AssertionError("a build encodes no texts")

    @property
    def metrics_url(self) -> str:
        raise AssertionError("a build reads no metrics")

    def runner(self, role: AnyRole) -> ModelRunner:
        assert role == EMBEDDER
        return self

    def on_change(self, listener: Callable[[bool], None]) -> None:
        self._listeners.append(listener)

    async def infer(
        self, inputs: Mapping[str, Sequence[NDArray[Any]]], *, deadline: float | None
    ) -> Mapping[str, NDArray[Any]]:
        parts = inputs["CROPS"]
        self.batches.append(len(parts))
        if self._failures:
            for ready in (False, True) if self._mends else (False,):
                for listener in self._listeners:
                    listener(ready)
            raise self._failures.pop(0)
        return {"EMBEDDINGS": await shade_embed(parts)}

    async def start(self) -> None:
        raise AssertionError("it is started already")

    async def stop(self) -> None:
        raise AssertionError("its starter stops it")


if TYPE_CHECKING:
    _engine: Engine = ScriptedEngine()


def crops(count: int) -> list[NDArray[np.uint8]]:
    return [np.full((4, 4, 3), number * 10, np.uint8) for number in range(count)]


async def test_as_many_as_the_engine_takes_in_order() -> None:
    engine = ScriptedEngine()
    embeddings = await engine_embed(engine)(crops(10))
    assert engine.batches == [4, 4, 2]
    assert embeddings.shape == (10, DIMENSION)
    assert np.array_equal(embeddings, await shade_embed(crops(10)))


async def test_an_engine_that_mends_itself_costs_nothing() -> None:
    engine = ScriptedEngine([GONE] * RETRIES)
    embeddings = await engine_embed(engine)(crops(5))
    assert np.array_equal(embeddings, await shade_embed(crops(5)))
    assert engine.batches == [4] * RETRIES + [4, 1]


async def test_an_engine_that_stays_away_is_the_end() -> None:
    with pytest.raises(SightlineError, match="the engine is gone"):
        await engine_embed(ScriptedEngine([GONE], mends=False), patience_s=0.01)(crops(1))


async def test_an_engine_that_fails_again_and_again_is_the_end() -> None:
    engine = ScriptedEngine([GONE] * 99)
    with pytest.raises(SightlineError, match="the engine is gone"):
        await engine_embed(engine)(crops(1))
    assert engine.batches == [1] * (RETRIES + 1)


async def test_other_failures_are_not_waited_out() -> None:
    engine = ScriptedEngine([SightlineError(ErrorKind.INTERNAL, "a defect")])
    with pytest.raises(SightlineError, match="a defect"):
        await engine_embed(engine)(crops(1))
    assert engine.batches == [1]
