"""Replacement of workers: on SIGHUP with the catalog read again, and after the engine came back at another address."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from sightline_server.control.protocol import Reloaded
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.workers.replacing import Copy, EngineAddress, Reloader, ReplaceableWorkers, Replacing, TlsKeeper


class Scene:
    """A fake of parent, crew and engine that records their calls."""

    def __init__(self) -> None:
        self.address = "127.0.0.1:1"
        self.asked: list[str] = []
        self.failure: SightlineError | None = None
        self.reports = [Reloaded("a", "1-a", "1-a"), Reloaded("b", "1-b", "2-b")]
        self.done = asyncio.Event()
        self.copy = FakeCopy()
        self.replacing = Replacing(self, self, self, FakeReloader(self), [self.copy])

    async def check_tls(self) -> None:
        self.asked.append("tls")

    async def replace(self) -> None:
        self.asked.append("replace")
        self.done.set()
        if self.failure:
            raise self.failure


class FakeCopy:
    """A fake of the copy of a followed catalog."""

    outdated = False


class FakeReloader:
    """A fake of the reloader of catalogs."""

    def __init__(self, scene: "Scene") -> None:
        self._scene = scene

    async def reload(self, names: Sequence[str] = ()) -> list[Reloaded]:
        self._scene.asked.append("reopen")
        if all(report.error for report in self._scene.reports):
            self._scene.done.set()
        return self._scene.reports


if TYPE_CHECKING:
    _parent: TlsKeeper = Scene()
    _crew: ReplaceableWorkers = Scene()
    _engine: EngineAddress = Scene()
    _reloader: Reloader = FakeReloader(Scene())
    _copy: Copy = FakeCopy()


async def test_a_hangup_opens_the_catalog_anew_and_then_replaces() -> None:
    scene = Scene()
    scene.replacing.reload()
    await scene.done.wait()
    assert scene.asked == ["tls", "reopen", "replace"]


async def test_reloads_asked_for_while_one_waits_are_one() -> None:
    scene = Scene()
    for _ in range(50):
        scene.replacing.reload()
    await scene.done.wait()
    scene.done.clear()
    scene.replacing.reload()
    await scene.done.wait()
    assert scene.asked == ["tls", "reopen", "replace"] * 2


FAILED = Reloaded("a", "1-a", "1-a", "the catalog is damaged")


async def test_catalogs_that_cannot_be_opened_leave_the_workers_alone(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.reports = [FAILED]
    scene.replacing.reload()
    await scene.done.wait()
    await asyncio.sleep(0)
    assert scene.asked == ["tls", "reopen"]
    assert "workers not replaced: the catalog is damaged" in caplog.text


async def test_one_catalog_that_cannot_be_opened_does_not_hold_the_others_up() -> None:
    scene = Scene()
    scene.reports = [FAILED, Reloaded("b", "1-b", "2-b")]
    assert await scene.replacing.reload_catalogs() == scene.reports
    assert scene.asked == ["reopen", "replace"]


async def test_a_command_replaces_nobody_where_no_catalog_has_changed() -> None:
    scene = Scene()
    scene.reports = [FAILED, Reloaded("b", "1-b", "1-b")]
    assert await scene.replacing.reload_catalogs() == scene.reports
    assert scene.asked == ["reopen"]


async def test_an_outdated_copy_replaces_workers_until_that_succeeds() -> None:
    scene = Scene()
    scene.reports = [Reloaded("a", "1-a", "1-a")]
    scene.copy.outdated = True
    scene.failure = SightlineError(ErrorKind.INTERNAL, "worker 1 ended")
    [report] = await scene.replacing.reload_catalogs(["a"])
    assert report.error == "workers were not replaced: worker 1 ended"
    scene.failure = None
    for _ in range(2):
        assert await scene.replacing.reload_catalogs(["a"]) == scene.reports
    assert scene.asked == ["reopen", "replace", "reopen", "replace", "reopen"]


async def test_workers_that_cannot_be_replaced_are_the_commands_failure() -> None:
    scene = Scene()
    scene.failure = SightlineError(ErrorKind.INTERNAL, "worker 1 ended")
    unchanged, changed = await scene.replacing.reload_catalogs()
    assert not unchanged.error
    assert changed.error == "workers were not replaced: worker 1 ended"


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
