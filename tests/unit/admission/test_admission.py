"""Admission: accepted and refused calls, the message of a refusal, and the count of calls until each has ended."""

import asyncio
from typing import Any

import pytest

from sightline_server.admission.limiter import AdaptiveLimit
from sightline_server.admission.slots import Admission, ServerState, Visit
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError

FAR = 1e9


class Bench:
    """Admission with its limit and its clock."""

    def __init__(self, *, calls: int = 2, ready: bool = True, state: ServerState = ServerState.SERVING) -> None:
        self.now = 0.0
        self.heard: list[int] = []
        self.limit = AdaptiveLimit(target_s=1.0, floor=calls, ceiling=calls)
        self.door = Admission(
            limit=self.limit, engine_ready=lambda: ready, clock=lambda: self.now, on_limit=self.heard.append
        )
        self.door.state = state

    def enter(self, lane: Lane = Lane.INTERACTIVE, deadline: float = FAR) -> Any:
        return self.door.enter(deadline=deadline, lane=lane)

    def fill(self, count: int) -> list[Any]:
        rooms = [self.enter() for _ in range(count)]
        for room in rooms:
            room.__enter__()
        return rooms

    def refusal(self, lane: Lane = Lane.INTERACTIVE, deadline: float = FAR) -> SightlineError:
        inside = self.door.inside
        with pytest.raises(SightlineError) as caught, self.enter(lane, deadline):
            raise AssertionError("it was let in")
        assert self.door.inside == inside
        return caught.value


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        ({"state": ServerState.STARTING}, ErrorKind.ENGINE_UNAVAILABLE),
        ({"state": ServerState.STARTING, "ready": False}, ErrorKind.ENGINE_UNAVAILABLE),
        ({"state": ServerState.STOPPING}, ErrorKind.STOPPING),
        ({"ready": False}, ErrorKind.ENGINE_UNAVAILABLE),
    ],
)
async def test_a_server_that_cannot_serve_says_when_to_come_back(made: dict[str, Any], kind: ErrorKind) -> None:
    error = Bench(**made).refusal()
    assert error.kind is kind
    assert error.retry_after_s


async def test_a_new_admission_lets_nobody_in() -> None:
    assert Admission(
        limit=AdaptiveLimit(target_s=1, floor=1, ceiling=1), engine_ready=lambda: True, clock=lambda: 0.0
    ).state is ServerState.STARTING  # fmt: skip


async def test_no_more_calls_than_places_and_a_place_is_free_again_after_any_end() -> None:
    bench = Bench(calls=2)
    with bench.enter(), bench.enter():
        error = bench.refusal()
        assert (error.kind, error.metadata) == (ErrorKind.OVERLOADED, {"limit": "concurrency"})
        assert error.retry_after_s
    for end in (RuntimeError, asyncio.CancelledError):
        with pytest.raises(end), bench.enter():
            raise end
    assert bench.door.inside == 0


async def test_calls_that_nobody_waits_for_leave_half_of_the_places() -> None:
    bench = Bench(calls=4)
    rooms = bench.fill(2)
    assert bench.refusal(Lane.BATCH).kind is ErrorKind.OVERLOADED
    rooms += bench.fill(2)
    assert bench.refusal().kind is ErrorKind.OVERLOADED
    for room in rooms:
        room.__exit__(None, None, None)
    with bench.enter(Lane.BATCH):
        assert bench.door.inside == 1


async def test_one_batch_caller_always_gets_in_when_nobody_is_there() -> None:
    bench = Bench(calls=1)
    with bench.enter(Lane.BATCH):
        assert bench.refusal(Lane.BATCH).kind is ErrorKind.OVERLOADED


async def test_a_call_that_cannot_be_answered_in_time_is_refused_unless_it_is_alone() -> None:
    bench = Bench(calls=8)
    for _ in range(5):
        bench.limit.sample(2.0, 1)
    with bench.enter(deadline=0.1):
        error = bench.refusal(deadline=3.0)
        assert (error.kind, error.metadata) == (ErrorKind.OVERLOADED, {"limit": "deadline"})
        with bench.enter(deadline=5.0):
            assert bench.door.inside == 2


async def test_the_limit_learns_first_results_and_those_that_never_came() -> None:
    bench = Bench(calls=8)
    samples: list[tuple[float, int]] = []
    bench.limit.sample = lambda seconds, inside: samples.append((seconds, inside))  # type: ignore[method-assign]
    with bench.enter() as visit:
        bench.now += 0.25
        visit.answered()
        bench.now += 9
        visit.answered()
    with bench.enter():
        bench.now += 0.5
    assert samples == [(0.25, 1)], "a quick refusal says nothing about the speed of results"
    with bench.enter():
        bench.now += 1.5
    assert samples == [(0.25, 1), (1.5, 1)]
    assert bench.heard == [8, 8, 8]


async def test_a_visit_learns_once() -> None:
    heard: list[float] = []
    visit = Visit(heard.append, lambda: 5.0)
    visit.answered()
    visit.left(0.0)
    assert heard == [0.0]


async def test_drain_waits_for_the_last_one_and_lets_nobody_in() -> None:
    bench = Bench()
    first, second = bench.fill(2)
    draining = asyncio.create_task(bench.door.drain())
    await asyncio.sleep(0)
    assert bench.refusal().kind is ErrorKind.STOPPING
    first.__exit__(None, None, None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not draining.done()
    second.__exit__(None, None, None)
    await draining
    assert bench.refusal().kind is ErrorKind.STOPPING


async def test_draining_an_empty_room_is_done_at_once() -> None:
    await asyncio.wait_for(Bench().door.drain(), 1)
