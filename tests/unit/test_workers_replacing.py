"""When workers are replaced: on SIGHUP with the catalog anew, and when the engine came back at another address."""

import asyncio
from typing import cast

import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton.engine import TritonEngine
from sightline_server.workers.crew import Crew
from sightline_server.workers.serving import Parent, Replacing


class Scene:
    """Stands in for parent, crew and engine; notes what is asked of them."""

    def __init__(self) -> None:
        self.address = "127.0.0.1:1"
        self.asked: list[str] = []
        self.failure: SightlineError | None = None
        self.done = asyncio.Event()
        self.replacing = Replacing(cast(Parent, self), cast(Crew, self), cast(TritonEngine, self))

    async def reopen(self) -> None:
        self.asked.append("reopen")
        if self.failure:
            self.done.set()
            raise self.failure

    async def replace(self) -> None:
        self.asked.append("replace")
        self.done.set()


async def test_a_hangup_opens_the_catalog_anew_and_then_replaces() -> None:
    scene = Scene()
    scene.replacing.reload()
    await scene.done.wait()
    assert scene.asked == ["reopen", "replace"]


async def test_reloads_asked_for_while_one_waits_are_one() -> None:
    scene = Scene()
    for _ in range(50):
        scene.replacing.reload()
    await scene.done.wait()
    scene.done.clear()
    scene.replacing.reload()
    await scene.done.wait()
    assert scene.asked == ["reopen", "replace"] * 2


async def test_a_catalog_that_cannot_be_opened_leaves_the_workers_alone(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.failure = SightlineError(ErrorKind.CONFIGURATION, "the catalog is damaged")
    scene.replacing.reload()
    await scene.done.wait()
    await asyncio.sleep(0)
    assert scene.asked == ["reopen"]
    assert "workers not replaced: the catalog is damaged" in caplog.text


async def test_an_engine_at_another_address_replaces_the_workers_once() -> None:
    scene = Scene()
    for ready in (False, True):
        scene.replacing.on_engine(ready)
    assert scene.asked == []
    scene.address = "127.0.0.1:2"
    for ready in (False, True, False, True):
        scene.replacing.on_engine(ready)
    await scene.done.wait()
    assert scene.asked == ["replace"]
