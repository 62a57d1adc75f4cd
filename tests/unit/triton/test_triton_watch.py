"""The watch over fakes: the faults that it detects, the restarts, and that it survives every fault."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton.config import EngineConfig, EngineEvents
from sightline_server.triton.faults import Cause, EngineError
from sightline_server.triton.ports import WatchedConnection, WatchedEngine, WatchedHost
from sightline_server.triton.watch import Watch
from tests.support.clock import HandClock


class FakeEngine:
    """Host, connection, client and lifecycle of an engine that fails as the test says."""

    mends = True

    def __init__(self) -> None:
        self.host = self.connection = self.client = self
        self.dead = False
        self.sick: list[str] = []
        self.starts_that_fail = 0
        self.reload_fails = False
        self.probe_error: Exception | None = None
        self.blind: OSError | None = None
        self.tried: list[str] = []
        self.done: list[str] = []
        self.tidied = 0
        self.heard: Callable[[], None] | None = None
        """Called once, while it is being restarted."""

    async def meanwhile(self) -> None:
        heard, self.heard = self.heard, None
        if heard:
            heard()

    def gone(self) -> bool:
        return self.dead

    def tend(self) -> None:
        pass

    def sick_models(self) -> list[str]:
        if self.blind:
            raise self.blind
        return self.sick

    def log_tail(self) -> list[str]:
        return ["what Triton said"]

    async def model_ready(self, model: str, timeout_s: float) -> bool:
        if self.probe_error:
            raise self.probe_error
        return True

    async def tiny_infer(self, model: str, timeout_s: float) -> None:
        self.tried.append(model)

    def tidy(self) -> None:
        self.tidied += 1

    async def reload(self, models: set[str]) -> None:
        self.done.append("reload")
        await self.meanwhile()
        if self.reload_fails:
            raise EngineError(Cause.MODEL_DOWN, "no")
        self.sick = []

    async def take_down(self, grace_s: float) -> None:
        self.done.append("down")

    async def raise_up(self) -> None:
        self.done.append("up")
        await self.meanwhile()
        if self.starts_that_fail:
            self.starts_that_fail -= 1
            raise SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "not yet")
        self.dead, self.sick, self.probe_error = False, [], None


if TYPE_CHECKING:
    _engine: WatchedEngine = FakeEngine()
    _connection: WatchedConnection = FakeEngine()
    _host: WatchedHost = FakeEngine()


class Recorder:
    """Readiness and restarts as they come; lets a test wait for one."""

    def __init__(self) -> None:
        self.ready: list[bool] = []
        self.mends: list[str] = []
        self.lost: list[str] = []
        self.came = asyncio.Event()

    def set_ready(self, ready: bool) -> None:
        self.ready.append(ready)
        self.came.set()

    def restarted(self, kind: str, /) -> None:
        self.mends.append(kind)

    def transport(self, model: str, name: str, /) -> None:
        pass

    def provider(self, model: str, name: str, precision: str, /) -> None:
        pass

    def given_up(self, model: str, /) -> None:
        self.lost.append(model)

    async def becomes(self, ready: bool) -> None:
        self.ready.clear()
        async with asyncio.timeout(5):
            while ready not in self.ready:
                self.came.clear()
                await self.came.wait()


if TYPE_CHECKING:
    _events: EngineEvents = Recorder()


@asynccontextmanager
async def watching(
    fake: FakeEngine, recorder: Recorder, clock: HandClock | None = None, **changes: Any
) -> AsyncIterator[Watch]:
    changes = {"probe_interval_s": 0.001, "restart_backoff_s": (0.0, 0.001), **changes}
    config = EngineConfig(**changes)
    watch = Watch(fake, config, recorder, clock or HandClock(), recorder.set_ready)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def fake() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def recorder() -> Recorder:
    return Recorder()


async def test_a_well_engine_is_only_asked_and_never_tried(fake: FakeEngine, recorder: Recorder) -> None:
    async with watching(fake, recorder):
        await recorder.becomes(True)
        await recorder.becomes(True)
    assert fake.tried == fake.done == []
    assert fake.tidied > 0


async def test_one_sick_model_is_reloaded(fake: FakeEngine, recorder: Recorder) -> None:
    fake.sick = ["embedder"]
    async with watching(fake, recorder):
        await recorder.becomes(True)
    assert (fake.done, recorder.mends) == (["reload"], ["reload"])


async def test_a_reload_that_fails_becomes_a_restart(fake: FakeEngine, recorder: Recorder) -> None:
    fake.sick, fake.reload_fails = ["embedder"], True
    async with watching(fake, recorder):
        await recorder.becomes(True)
    assert (fake.done, recorder.mends) == (["reload", "down", "up"], ["restart"])


async def test_a_dead_engine_is_started_until_it_comes_up(fake: FakeEngine, recorder: Recorder) -> None:
    fake.dead, fake.starts_that_fail = True, 5
    async with watching(fake, recorder):
        await recorder.becomes(True)
    assert fake.done == ["down", "up"] * 6
    assert recorder.mends == ["restart"] * 6


@pytest.mark.parametrize("error", [EngineError(Cause.FROZEN, ""), EngineError(Cause.GONE, ""), RuntimeError("odd")])
async def test_the_watch_outlives_what_it_meets(fake: FakeEngine, recorder: Recorder, error: Exception) -> None:
    fake.probe_error = error
    async with watching(fake, recorder):
        await recorder.becomes(False)
        fake.probe_error = None
        await recorder.becomes(True)


async def test_a_failed_call_turns_readiness_off_at_once_and_the_model_is_tried(
    fake: FakeEngine, recorder: Recorder
) -> None:
    async with watching(fake, recorder, probe_interval_s=60.0) as watch:
        watch.failed("embedder", EngineError(Cause.GONE, "refused"), 100.0)
        assert recorder.ready == [False]
        await recorder.becomes(True)
    assert fake.tried == ["embedder"]


async def test_a_lost_region_means_a_new_connection(fake: FakeEngine, recorder: Recorder) -> None:
    async with watching(fake, recorder, probe_interval_s=60.0) as watch:
        watch.failed("embedder", EngineError(Cause.REGION_LOST, ""), 100.0)
        await recorder.becomes(True)
    assert fake.done == ["down", "up"]


async def test_an_engine_that_gave_a_model_up_is_started_again_however_well_it_looks(
    fake: FakeEngine, recorder: Recorder
) -> None:
    async with watching(fake, recorder, probe_interval_s=60.0) as watch:
        watch.failed("embedder", EngineError(Cause.GIVEN_UP, ""), 100.0)
        watch.failed("embedder", EngineError(Cause.GIVEN_UP, "again"), 100.0)
        assert (watch.given_up("embedder"), watch.given_up("detector")) == (True, False)
        assert recorder.lost == ["embedder"]
        await recorder.becomes(True)
        assert not watch.given_up("embedder")
    assert (fake.done, fake.tried) == (["down", "up"], [])


async def test_a_late_word_of_an_engine_that_was_mended_since_is_not_held_against_it(
    fake: FakeEngine, recorder: Recorder
) -> None:
    clock = HandClock()
    async with watching(fake, recorder, clock, probe_interval_s=60.0) as watch:
        clock.now = 110.0
        watch.failed("embedder", EngineError(Cause.GIVEN_UP, ""), 105.0)
        await recorder.becomes(True)
        watch.failed("embedder", EngineError(Cause.GIVEN_UP, ""), 109.0)
        assert not watch.given_up("embedder")


async def test_a_probe_that_hears_of_giving_up_passes_it_on(fake: FakeEngine, recorder: Recorder) -> None:
    fake.probe_error = EngineError(Cause.GIVEN_UP, "")
    async with watching(fake, recorder):
        await recorder.becomes(True)
    assert (recorder.lost, fake.done) == (["detector", "embedder"], ["down", "up"])


async def test_loading_one_model_again_does_not_pardon_the_other(fake: FakeEngine, recorder: Recorder) -> None:
    clock = HandClock()
    async with watching(fake, recorder, clock, probe_interval_s=60.0) as watch:
        clock.now = 110.0
        fake.heard = lambda: watch.failed("detector", EngineError(Cause.GIVEN_UP, ""), 105.0)
        fake.sick = ["embedder"]
        watch.kept_waiting("embedder", 109.0)
        await recorder.becomes(True)
        assert fake.done == ["reload", "down", "up"]
        # What the former stubs did is forgotten, the reloaded one's too.
        watch.failed("embedder", EngineError(Cause.GIVEN_UP, ""), 109.0)
        assert not watch.given_up("detector")
        assert not watch.given_up("embedder")


async def test_a_model_loaded_again_is_not_held_to_what_its_killed_stub_left(
    fake: FakeEngine, recorder: Recorder
) -> None:
    clock = HandClock()
    async with watching(fake, recorder, clock, probe_interval_s=60.0) as watch:
        clock.now = 110.0
        fake.heard = lambda: watch.failed("embedder", EngineError(Cause.GIVEN_UP, ""), 105.0)
        fake.sick = ["embedder"]
        watch.kept_waiting("embedder", 109.0)
        await recorder.becomes(True)
        assert (fake.done, watch.given_up("embedder")) == (["reload"], False)


async def test_what_is_heard_of_the_new_engine_while_it_comes_up_is_not_forgotten(
    fake: FakeEngine, recorder: Recorder
) -> None:
    fake.dead = True
    async with watching(fake, recorder) as watch:
        fake.heard = lambda: watch.failed("detector", EngineError(Cause.GIVEN_UP, "a worker reported it"), 100.0)
        await recorder.becomes(True)
    assert fake.done == ["down", "up", "down", "up"]


async def test_a_model_that_refuses_a_call_stays_in_service(fake: FakeEngine, recorder: Recorder) -> None:
    async with watching(fake, recorder, probe_interval_s=60.0) as watch:
        watch.failed("embedder", EngineError(Cause.REFUSED, "bad shape"), 100.0)
        assert recorder.ready == []


async def test_a_missed_deadline_is_suspicious_only_when_nobody_was_answered_since(
    fake: FakeEngine, recorder: Recorder
) -> None:
    clock = HandClock()
    async with watching(fake, recorder, clock) as watch:
        clock.now = 110.0
        watch.answered("embedder")
        watch.kept_waiting("embedder", since=109.0)
        await recorder.becomes(True)
        assert fake.tried == []
        watch.kept_waiting("embedder", since=111.0)
        await recorder.becomes(True)
        await recorder.becomes(True)
    assert fake.tried == ["embedder"]


async def test_an_idle_remote_engine_is_tried_now_and_then(fake: FakeEngine, recorder: Recorder) -> None:
    fake.mends = False
    clock = HandClock()
    async with watching(fake, recorder, clock, idle_infer_interval_s=10.0) as watch:
        await recorder.becomes(True)
        assert fake.tried == []
        clock.now = 111.0
        watch.answered("detector")
        await recorder.becomes(True)
        await recorder.becomes(True)
    assert fake.tried == ["embedder"]


async def test_without_a_descriptor_to_look_with_an_engine_that_answers_is_left_alone() -> None:
    fake, recorder = FakeEngine(), Recorder()
    fake.blind = OSError(errno.EMFILE, "Too many open files")
    async with watching(fake, recorder):
        await recorder.becomes(True)
        await recorder.becomes(True)
    assert False not in recorder.ready
    assert fake.done == []
