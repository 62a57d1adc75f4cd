"""Background work goes one piece at a time, in order, and behind calls, but never waits for ever."""

import asyncio
import math
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline_server.batching.background import FIRST_S, LONGEST_S, REST, Background
from tests.support.clock import HandClock

FOR_EVER = 1e6


class Work:
    """Pieces of work that end when the test says so."""

    def __init__(self, background: Background) -> None:
        self.background = background
        self.begun: list[int] = []
        self.ahead_at_begin: list[int] = []
        self.running: set[int] = set()
        self.most_running = 0
        self.ends: dict[int, asyncio.Future[None]] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def submit(self, number: int) -> None:
        self.ends[number] = asyncio.get_running_loop().create_future()
        self.tasks[number] = asyncio.create_task(self._piece(number))

    async def _piece(self, number: int) -> None:
        async with self.background.turn():
            self.begun.append(number)
            self.ahead_at_begin.append(self.background.ahead)
            self.running.add(number)
            self.most_running = max(self.most_running, len(self.running))
            try:
                await self.ends[number]
            finally:
                self.running.discard(number)

    async def end(self) -> None:
        """Ends pieces until none is left, cancelled ones included."""
        for _ in range(4 * len(self.tasks)):
            await turns()
            for number in self.running:
                if not self.ends[number].done():
                    self.ends[number].set_result(None)
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def turns(count: int = 8) -> None:
    """Lets every task go on that can."""
    for _ in range(count):
        await asyncio.sleep(0)


def patient(now: HandClock | None = None) -> Background:
    """Background work that waits for a moment without calls, however long."""
    return Background(clock=now or HandClock(), rest=math.inf, longest_s=FOR_EVER)


async def test_a_piece_begins_at_once_without_calls() -> None:
    work = Work(patient())
    work.submit(1)
    await turns()
    assert work.running == {1}
    await work.end()


async def test_a_piece_waits_for_the_last_call() -> None:
    work = Work(background := patient())
    with background.call():
        with background.call():
            work.submit(1)
            await turns()
        await turns()
        assert work.begun == []
    await turns()
    assert work.begun == [1]
    await work.end()


async def test_a_call_that_comes_as_the_other_one_leaves_is_waited_for() -> None:
    work = Work(background := patient())
    with background.call():
        work.submit(1)
        await turns()
    with background.call():
        await turns()
        assert work.begun == []
    await work.end()
    assert work.begun == [1]


async def test_a_pause_without_calls_does_not_suspend() -> None:
    pause = patient().pause()
    with pytest.raises(StopIteration):
        pause.send(None)


async def test_a_piece_begins_next_to_calls_after_its_wait() -> None:
    work = Work(background := Background(clock=HandClock(), longest_s=0.01))
    with background.call():
        work.submit(1)
        await asyncio.wait_for(background.pause(), 60)
        await turns()
        assert work.begun == [1]
        assert work.ahead_at_begin == [1]
    await work.end()


@pytest.mark.parametrize(("took_s", "patience_s"), [(0.0, 0.0), (0.005, 0.08), (0.05, 0.8), (60.0, LONGEST_S)])
async def test_the_wait_follows_the_length_of_the_piece_before(took_s: float, patience_s: float) -> None:
    background = Background(clock=(clock := HandClock()))
    assert background.patience_s == pytest.approx(REST * FIRST_S)
    async with background.turn():
        clock.now += took_s
    assert background.patience_s == pytest.approx(patience_s)


async def test_the_wait_of_each_piece_is_reported_when_it_begins() -> None:
    waits: list[float] = []
    background = Background(clock=(clock := HandClock()), on_wait=waits.append)

    async def piece(took_s: float) -> None:
        async with background.turn():
            await turns()
            clock.now += took_s

    await asyncio.gather(piece(2.0), piece(3.0), piece(1.0))
    assert waits == [0.0, 2.0, 5.0]


async def test_a_failed_piece_does_not_change_the_wait() -> None:
    background = Background(clock=HandClock())
    with suppress(ValueError):
        async with background.turn():
            raise ValueError
    assert background.patience_s == pytest.approx(REST * FIRST_S)
    async with asyncio.timeout(60), background.turn():
        assert background.ahead == 0


async def test_a_cancelled_piece_lets_the_next_one_begin() -> None:
    work = Work(background := patient())
    with background.call():
        for number in range(3):
            work.submit(number)
        await turns()
        work.tasks[0].cancel()
        work.tasks[1].cancel()
        await turns()
    await turns()
    assert work.begun == [2]
    work.tasks[2].cancel()
    work.submit(3)
    await work.end()
    assert work.begun == [2, 3]


async def test_a_call_that_fails_is_not_waited_for() -> None:
    background = patient()
    with suppress(ValueError), background.call():
        raise ValueError
    assert background.ahead == 0
    async with asyncio.timeout(60), background.turn():
        pass


STEPS = st.lists(st.sampled_from(["submit", "cancel", "enter", "leave", "end", "turn"]), max_size=40)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_pieces_run_alone_in_order_and_behind_calls_whatever_happens(steps: list[str]) -> None:
    asyncio.run(played(steps))


async def played(steps: list[str]) -> None:
    work, inside, cancelled = Work(background := patient()), [], set()
    for step in steps:
        waiting = [number for number in work.tasks if number not in work.begun and number not in cancelled]
        if step == "submit":
            work.submit(len(work.tasks))
        elif step == "cancel" and waiting:
            work.tasks[waiting[len(waiting) // 2]].cancel()
            cancelled.add(waiting[len(waiting) // 2])
        elif step == "enter":
            inside.append(background.call())
            inside[-1].__enter__()
        elif step == "leave" and inside:
            inside.pop().__exit__(None, None, None)
        elif step == "end":
            for number in work.running:
                if not work.ends[number].done():
                    work.ends[number].set_result(None)
        await turns(1 if step == "turn" else 0)
    for call in inside:
        call.__exit__(None, None, None)
    await work.end()
    assert work.most_running <= 1
    assert set(work.ahead_at_begin) <= {0}
    assert work.begun == [number for number in work.tasks if number in work.begun]
    assert set(work.tasks) - set(work.begun) <= cancelled
