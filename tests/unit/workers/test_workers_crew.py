"""The crew: what happens to one worker happens to no other, and every worker that ended is tidied up after."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.telemetry.metrics import Metrics
from sightline_server.workers import crew as crew_module
from sightline_server.workers.crew import Crew, Worker
from sightline_server.workers.process import how


class FakeWorker:
    """A worker that serves, fails and ends when a test says so."""

    def __init__(self, number: int, pid: int) -> None:
        self.number, self.pid = number, pid
        self.dismissed = self.serving = self.killed = self.hurried = False
        self.obedient = True
        self.listens = False
        self.successor: asyncio.Future[FakeWorker] = asyncio.get_running_loop().create_future()
        self._warm = asyncio.Event()
        self._settled = asyncio.Event()
        self._failure: SightlineError | None = None
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def warms(self) -> None:
        self._warm.set()

    def serves(self) -> None:
        self.serving = True
        self._warm.set()
        self._settled.set()

    def listen(self) -> None:
        self.listens = True

    def fails(self, message: str) -> None:
        self._failure = SightlineError(ErrorKind.CONFIGURATION, message)
        self._warm.set()
        self._settled.set()
        self.ends(2)

    def ends(self, code: int) -> None:
        self.serving = False
        if not self._settled.is_set():
            self._failure = SightlineError(ErrorKind.INTERNAL, how(code))
            self._warm.set()
            self._settled.set()
        if not self._end.done():
            self._end.set_result(code)

    async def until_warm(self) -> None:
        await self._warm.wait()
        if self._failure:
            raise self._failure

    async def until_serving(self) -> None:
        await self._settled.wait()
        if self._failure:
            raise self._failure

    async def ended(self) -> int:
        return await asyncio.shield(self._end)

    def dismiss(self) -> None:
        self.dismissed = True
        if not self.serving:
            self.kill()
        elif self.obedient:
            self.ends(0)

    def hurry(self) -> None:
        self.hurried = True
        if self.obedient:
            self.ends(1)

    def kill(self) -> None:
        self.dismissed = True
        if not self._end.done():
            self.killed = True
            self.ends(-9)


if TYPE_CHECKING:
    _worker: Worker = FakeWorker(1, 100)


class Stage:
    """A crew of fake workers and all that were ever hired, in order."""

    def __init__(self, count: int) -> None:
        self.hired: list[FakeWorker] = []
        self.tidied: list[int] = []
        self.metrics = Metrics()
        self.crew = Crew(count, self.hire, self.tidy, self.metrics)

    async def hire(self, number: int) -> FakeWorker:
        self.hired.append(FakeWorker(number, 100 + len(self.hired)))
        return self.hired[-1]

    async def tidy(self, worker: FakeWorker) -> None:
        self.tidied.append(worker.pid)

    async def started(self) -> None:
        """Starts the crew; every worker serves."""
        starting = asyncio.create_task(self.crew.start())
        await self.until(lambda: len(self.hired) == len(self.crew._numbers))
        for worker in self.hired:
            worker.serves()
        await starting

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():  # noqa: ASYNC110 (what it waits for is other tasks of this loop)
                await asyncio.sleep(0)

    def value(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"sightline_{name}")


async def test_it_has_started_when_every_worker_serves() -> None:
    stage = Stage(3)
    starting = asyncio.create_task(stage.crew.start())
    await stage.until(lambda: len(stage.hired) == 3)
    for worker in stage.hired:
        worker.warms()
    for worker in stage.hired[:2]:
        worker.serves()
    await stage.until(lambda: stage.value("workers") == 2)
    assert not starting.done()
    stage.hired[2].serves()
    await starting
    await stage.until(lambda: stage.value("workers") == 3)
    assert stage.value("workers_wanted") == 3
    await stage.crew.stop(1)


async def test_the_first_workers_listen_when_all_of_them_could() -> None:
    stage = Stage(2)
    starting = asyncio.create_task(stage.crew.start())
    await stage.until(lambda: len(stage.hired) == 2)
    stage.hired[0].warms()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not stage.hired[0].listens
    stage.hired[1].warms()
    await stage.until(lambda: stage.hired[0].listens and stage.hired[1].listens)
    for worker in stage.hired:
        worker.serves()
    await starting
    stage.hired[0].ends(1)
    await stage.until(lambda: len(stage.hired) == 3)
    stage.hired[2].warms()
    await stage.until(lambda: stage.hired[2].listens)
    await stage.crew.stop(1)


async def test_a_worker_that_cannot_start_ends_the_start_with_its_words() -> None:
    stage = Stage(2)
    starting = asyncio.create_task(stage.crew.start())
    await stage.until(lambda: len(stage.hired) == 2)
    stage.hired[0].serves()
    stage.hired[1].fails("the catalog is damaged")
    with pytest.raises(SightlineError, match="the catalog is damaged"):
        await starting
    await stage.crew.stop(1)
    assert len(stage.hired) == 2
    assert stage.hired[0].dismissed


async def test_a_worker_that_ends_is_started_again_and_the_others_go_on() -> None:
    stage = Stage(2)
    await stage.started()
    stage.hired[0].ends(-11)
    await stage.until(lambda: len(stage.hired) == 3)
    assert stage.tidied == [100]
    assert (stage.hired[2].number, stage.value("workers"), stage.value("worker_restarts_total")) == (1, 1, 1)
    stage.hired[2].serves()
    await stage.until(lambda: stage.value("workers") == 2)
    assert not stage.hired[1].dismissed
    await stage.crew.stop(1)


async def test_a_worker_that_ends_again_and_again_waits_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def pause(self: Crew[FakeWorker], seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(Crew, "_pause", pause)
    stage = Stage(1)
    await stage.started()
    for turn in range(8):
        if turn % 2:
            stage.hired[-1].serves()
            await stage.until(lambda: stage.value("workers") == 1)
        stage.hired[-1].ends(1)
        await stage.until(lambda hired=turn + 2: len(stage.hired) == hired)  # type: ignore[misc]
    assert waits == [*crew_module.BACKOFF_S, 10.0, 10.0]
    await stage.crew.stop(1)


async def test_a_worker_that_has_served_long_starts_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "SOUND_S", 0.0)
    monkeypatch.setattr(crew_module, "BACKOFF_S", (0.0, 3600.0))
    stage = Stage(1)
    await stage.started()
    for hired in (2, 3, 4):
        stage.hired[-1].ends(1)
        await stage.until(lambda hired=hired: len(stage.hired) == hired)  # type: ignore[misc]
        stage.hired[-1].serves()
        await stage.until(lambda: stage.value("workers") == 1)
    await stage.crew.stop(1)


async def test_a_stop_does_not_wait_for_a_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "BACKOFF_S", (3600.0,))
    stage = Stage(2)
    await stage.started()
    stage.hired[0].ends(1)
    await stage.until(lambda: stage.value("worker_restarts_total") == 1)
    async with asyncio.timeout(5):
        await stage.crew.stop(1)
    assert all(worker.dismissed for worker in stage.hired[1:])
    assert sorted(stage.tidied)[:2] == [100, 101]


async def test_replacing_goes_one_by_one_and_counts_as_no_restart() -> None:
    stage = Stage(2)
    await stage.started()
    replacing = asyncio.create_task(stage.crew.replace())
    await stage.until(lambda: len(stage.hired) == 3)
    assert stage.hired[0].dismissed
    assert not stage.hired[1].dismissed, "the second goes when the first one's successor serves"
    stage.hired[2].serves()
    await stage.until(lambda: len(stage.hired) == 4)
    stage.hired[3].serves()
    await replacing
    assert [worker.number for worker in stage.hired] == [1, 2, 1, 2]
    assert stage.value("worker_restarts_total") == 0
    await stage.crew.stop(1)


async def test_replacing_ends_at_the_first_that_cannot_be_replaced() -> None:
    stage = Stage(2)
    await stage.started()
    replacing = asyncio.create_task(stage.crew.replace())
    await stage.until(lambda: len(stage.hired) == 3)
    stage.hired[2].fails("no memory")
    with pytest.raises(SightlineError, match="no memory"):
        await replacing
    assert not stage.hired[1].dismissed
    await stage.crew.stop(1)


async def test_workers_that_do_not_end_in_time_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "MORE_THAN_GRACE_S", 0.0)
    stage = Stage(2)
    await stage.started()
    stage.hired[0].obedient = False
    await stage.crew.stop(0.01)
    assert [worker.killed for worker in stage.hired] == [True, False]
    assert sorted(stage.tidied) == [100, 101]


async def test_a_cancelled_stop_hurries_then_kills_and_still_tidies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "LAST_WORDS_S", 0.0)
    stage = Stage(2)
    await stage.started()
    for worker in stage.hired:
        worker.obedient = False
    stopping = asyncio.create_task(stage.crew.stop(3600))
    await stage.until(lambda: all(worker.dismissed for worker in stage.hired))
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert all(worker.hurried and worker.killed for worker in stage.hired)
    assert sorted(stage.tidied) == [100, 101]


def test_how_a_worker_ended_in_words() -> None:
    assert how(-9) == "was ended by SIGKILL"
    assert how(2) == "ended with exit code 2"
