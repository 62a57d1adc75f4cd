"""The batcher's promises, with gates instead of sleep: a caller gets its own answer or an error, whatever others do."""

import asyncio
import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from sightline_server.batching.batcher import Answer, BatchObserver, MicroBatcher
from sightline_server.batching.window import Window
from sightline_server.errors import ErrorKind, SightlineError

FAR = 1e9


class Device:
    """Doubles numbers when its gate is open; `replies` overrules single calls."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.started = asyncio.Event()
        self.calls: list[list[int]] = []
        self.deadlines: list[float] = []
        self.running = self.most_running = 0
        self.replies: list[Any] = []

    async def __call__(self, items: Sequence[int], *, deadline: float) -> Sequence[int]:
        self.calls.append(list(items))
        self.deadlines.append(deadline)
        reply = self.replies.pop(0) if self.replies else None
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.started.set()
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if isinstance(reply, BaseException):
            raise reply
        return [2 * item for item in items] if reply is None else reply


class Heard:
    """Records the calls of the observer."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []
        self.waits: list[float] = []
        self.took: list[float] = []
        self.drops: list[tuple[str, int]] = []
        self.wastes: list[int] = []
        self.deaf = False

    def batch_started(self, size: int, waiting: int) -> None:
        if self.deaf:
            raise RuntimeError("the observer fell over")
        self.batches.append((size, waiting))

    def batch_ended(self, seconds: float) -> None:
        self.took.append(seconds)

    def entry_waited(self, seconds: float) -> None:
        self.waits.append(seconds)

    def dropped(self, reason: str, items: int) -> None:
        self.drops.append((reason, items))

    def wasted(self, items: int) -> None:
        self.wastes.append(items)


if TYPE_CHECKING:
    _observer: BatchObserver = Heard()


class Bench:
    """A batcher with its device, its clock and its observer."""

    def __init__(self, *, max_batch: int = 4, max_waiting: int = 8, slots: int = 1, lanes: int = 2) -> None:
        self.now = 0.0
        self.device, self.heard = Device(), Heard()
        self.window: Window[int] = Window(max_batch=max_batch, max_waiting=max_waiting, lanes=lanes)
        self.batcher: MicroBatcher[int, int] = MicroBatcher(
            self.device, self.window, slots=slots, clock=lambda: self.now, observer=self.heard
        )

    def submit(self, *items: int, deadline: float = FAR, lane: int = 0) -> asyncio.Task[Answer[int]]:
        return asyncio.create_task(self.batcher.submit(items, deadline=deadline, lane=lane))

    async def busy(self) -> asyncio.Task[Answer[int]]:
        """Occupies the device with item 100 until the gate opens."""
        first = self.submit(100)
        await self.device.started.wait()
        return first


async def turns(count: int = 5) -> None:
    """Lets everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def kind_of(task: asyncio.Task[Answer[int]]) -> ErrorKind:
    with pytest.raises(SightlineError) as caught:
        await task
    return caught.value.kind


async def answers(tasks: Sequence[asyncio.Task[Answer[int]]]) -> list[list[int]]:
    return [list((await task).results) for task in tasks]


async def assert_alive(bench: Bench) -> None:
    """The next caller gets its answer and nothing is left behind."""
    bench.device.gate.set()
    assert await answers([bench.submit(7)]) == [[14]]
    assert bench.batcher.waiting == 0
    assert bench.device.running == 0
    assert not bench.batcher._answers
    await turns()
    assert bench.batcher._free_slots >= 1
    assert not bench.batcher._running


async def test_a_cancelled_caller_leaves_its_batch_mates_answered() -> None:
    bench = Bench()
    tasks = [bench.submit(1), bench.submit(2), bench.submit(3)]
    await bench.device.started.wait()
    assert bench.device.calls == [[1, 2, 3]]
    tasks[1].cancel()
    await turns()
    bench.device.gate.set()
    assert await answers([tasks[0], tasks[2]]) == [[2], [6]]
    assert tasks[1].cancelled()
    assert bench.heard.wastes == [1]
    await assert_alive(bench)


async def test_a_caller_cancelled_while_waiting_is_not_run() -> None:
    bench = Bench()
    first = await bench.busy()
    stay, leave = bench.submit(1), bench.submit(2, 3)
    await turns()
    leave.cancel()
    await turns()
    assert bench.batcher.waiting == 1
    bench.device.gate.set()
    assert await answers([first, stay]) == [[200], [2]]
    assert bench.device.calls == [[100], [1]]
    assert bench.heard.drops == [("cancelled", 2)]
    assert bench.heard.wastes == []


async def test_everybody_cancelled_while_running_counts_as_wasted_and_frees_the_slot() -> None:
    bench = Bench()
    tasks = [bench.submit(1, 2), bench.submit(3)]
    await bench.device.started.wait()
    for task in tasks:
        task.cancel()
    await turns()
    await assert_alive(bench)
    assert bench.heard.wastes == [2, 1]


async def test_a_caller_cancelled_in_the_turn_of_its_answer_ends_cancelled() -> None:
    bench = Bench()
    task, mate = bench.submit(1), bench.submit(2)
    await bench.device.started.wait()
    answer = next(iter(bench.batcher._answers.values()))
    bench.device.gate.set()
    await asyncio.sleep(0)
    assert answer.done() and not task.done(), "the answer is there, its caller has not woken up"
    task.cancel()
    assert await answers([mate]) == [[4]]
    await asyncio.wait([task])
    assert task.cancelled()
    await assert_alive(bench)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (RuntimeError("secret text of a library"), ErrorKind.INTERNAL),
        (SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "gone", retry_after_s=2.0), ErrorKind.ENGINE_UNAVAILABLE),
        (SightlineError(ErrorKind.MODEL_ANSWER, "not finite"), ErrorKind.MODEL_ANSWER),
        ([1], ErrorKind.MODEL_ANSWER),
        ([1, 2, 3, 4], ErrorKind.MODEL_ANSWER),
        ([], ErrorKind.MODEL_ANSWER),
        (17, ErrorKind.INTERNAL),
    ],
    ids=["raises", "engine gone", "nan", "too short", "too long", "empty", "no sequence"],
)
async def test_a_model_that_fails_gives_every_member_an_error_and_the_loop_survives(
    reply: object, kind: ErrorKind
) -> None:
    bench = Bench()
    bench.device.replies = [reply]
    bench.device.gate.set()
    tasks = [bench.submit(1), bench.submit(2, 3)]
    assert [await kind_of(task) for task in tasks] == [kind, kind]
    await assert_alive(bench)


async def test_members_get_exceptions_of_their_own_with_public_words() -> None:
    bench = Bench()
    bench.device.replies = [RuntimeError("secret text of a library")]
    bench.device.gate.set()
    caught = await asyncio.gather(bench.submit(1), bench.submit(2), return_exceptions=True)
    assert caught[0] is not caught[1]
    for error in caught:
        assert isinstance(error, SightlineError)
        assert error.message == "internal error"
        assert isinstance(error.__cause__, RuntimeError)


async def test_an_errors_details_reach_each_member() -> None:
    bench = Bench()
    bench.device.replies = [SightlineError(ErrorKind.INDEX_UNAVAILABLE, "m", retry_after_s=3.0, metadata={"a": "b"})]
    bench.device.gate.set()
    with pytest.raises(SightlineError) as caught:
        await bench.submit(1)
    assert (caught.value.retry_after_s, caught.value.metadata) == (3.0, {"a": "b"})


async def test_an_observer_that_raises_leaves_nobody_unanswered() -> None:
    bench = Bench()
    bench.heard.deaf = True
    assert await kind_of(bench.submit(1)) is ErrorKind.INTERNAL
    bench.heard.deaf = False
    await assert_alive(bench)


async def test_a_run_that_is_cancelled_from_below_fails_its_members() -> None:
    bench = Bench()
    bench.device.replies = [asyncio.CancelledError()]
    bench.device.gate.set()
    assert await kind_of(bench.submit(1)) is ErrorKind.STOPPING
    await assert_alive(bench)


async def test_a_deadline_that_passes_in_the_queue_is_never_run() -> None:
    bench = Bench()
    first = await bench.busy()
    late, alive = bench.submit(1, deadline=5.0), bench.submit(2, deadline=50.0)
    await turns()
    bench.now = 5.0
    bench.device.gate.set()
    assert await kind_of(late) is ErrorKind.DEADLINE_EXCEEDED
    assert await answers([first, alive]) == [[200], [4]]
    assert bench.device.calls == [[100], [2]]
    assert bench.heard.drops == [("expired", 1)]


async def test_a_deadline_that_has_passed_already_is_never_run() -> None:
    bench = Bench()
    bench.now = 9.0
    assert await kind_of(bench.submit(1, deadline=9.0)) is ErrorKind.DEADLINE_EXCEEDED
    assert bench.device.calls == []
    await assert_alive(bench)


async def test_the_device_gets_the_latest_deadline_of_the_members() -> None:
    bench = Bench()
    bench.device.gate.set()
    await asyncio.gather(bench.submit(1, deadline=4.0), bench.submit(2, deadline=6.0), bench.submit(3, deadline=5.0))
    assert bench.device.deadlines == [6.0]


async def test_a_full_room_refuses_at_once() -> None:
    bench = Bench(max_batch=2, max_waiting=2)
    first = await bench.busy()
    waiting = bench.submit(1, 2)
    await turns()
    refused = bench.submit(3)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert refused.done(), "a refusal waits for nothing"
    error = refused.exception()
    assert isinstance(error, SightlineError)
    assert error.kind is ErrorKind.OVERLOADED
    assert error.retry_after_s
    assert bench.heard.drops == [("full", 1)]
    bench.device.gate.set()
    assert await answers([first, waiting]) == [[200], [2, 4]]
    await assert_alive(bench)


@pytest.mark.parametrize("items", [(), (1, 2, 3, 4, 5)])
async def test_an_entry_that_could_never_run_is_the_callers_error(items: tuple[int, ...]) -> None:
    bench = Bench(max_batch=4)
    with pytest.raises(ValueError, match="1 to 4"):
        await bench.submit(*items)
    await assert_alive(bench)


async def test_a_batch_grows_while_the_device_is_busy() -> None:
    bench = Bench(max_batch=3)
    first = await bench.busy()
    tasks = []
    for item in range(4):
        tasks.append(bench.submit(item))
        await turns()
    assert bench.device.calls == [[100]]
    bench.device.gate.set()
    assert await answers([first, *tasks]) == [[200], [0], [2], [4], [6]]
    assert bench.device.calls == [[100], [0, 1, 2], [3]]
    assert bench.heard.batches == [(1, 0), (3, 1), (1, 0)]


async def test_callers_of_one_turn_share_a_batch_and_items_stay_together() -> None:
    bench = Bench(max_batch=4)
    bench.device.gate.set()
    tasks = [bench.submit(1, 2), bench.submit(3), bench.submit(4, 5)]
    assert await answers(tasks) == [[2, 4], [6], [8, 10]]
    assert bench.device.calls == [[1, 2, 3], [4, 5]]


@pytest.mark.parametrize("slots", [1, 2, 3])
async def test_no_more_calls_at_once_than_slots(slots: int) -> None:
    bench = Bench(max_batch=1, slots=slots)
    tasks = [bench.submit(item) for item in range(6)]
    await turns(20)
    assert bench.device.running == slots
    bench.device.gate.set()
    assert await answers(tasks) == [[0], [2], [4], [6], [8], [10]]
    assert bench.device.most_running == slots


async def test_slots_are_free_until_they_run_or_something_waits_for_them() -> None:
    bench = Bench(max_batch=2, slots=2)
    assert bench.batcher.free_slots == 2
    running = [await bench.busy()]
    assert bench.batcher.free_slots == 1
    running.append(bench.submit(1))
    await asyncio.sleep(0)
    # Its batch is not formed yet, and what waits goes before what comes.
    assert (bench.batcher.waiting, bench.batcher.free_slots) == (1, 0)
    await turns()
    assert (bench.batcher.waiting, bench.batcher.free_slots) == (0, 0)
    bench.device.gate.set()
    await answers(running)
    await turns()
    assert bench.batcher.free_slots == 2


async def test_interactive_calls_go_before_batch_callers() -> None:
    bench = Bench(max_batch=1)
    first = await bench.busy()
    patient, urgent = bench.submit(1, lane=1), bench.submit(2, lane=0)
    await turns()
    bench.device.gate.set()
    await asyncio.gather(first, patient, urgent)
    assert bench.device.calls == [[100], [2], [1]]


async def test_waiting_is_measured_on_the_clock() -> None:
    bench = Bench()
    first = await bench.busy()
    later = bench.submit(1)
    await turns()
    bench.now = 0.25
    bench.device.gate.set()
    assert (await first).waited_s == 0.0
    assert (await later).waited_s == 0.25
    assert bench.heard.waits == [0.0, 0.25]
    assert bench.heard.took == [0.25, 0.0]


async def test_close_fails_those_who_wait_and_waits_for_those_who_run() -> None:
    bench = Bench()
    running = await bench.busy()
    waiting = bench.submit(1)
    await turns()
    closing = asyncio.create_task(bench.batcher.close())
    assert await kind_of(waiting) is ErrorKind.STOPPING
    await turns()
    assert not closing.done()
    bench.device.gate.set()
    assert await answers([running]) == [[200]]
    await closing
    assert bench.device.running == 0
    assert await kind_of(bench.submit(2)) is ErrorKind.STOPPING
    assert bench.device.calls == [[100]]


async def test_close_does_not_wait_for_a_device_that_nobody_waits_for() -> None:
    bench = Bench()
    running = await bench.busy()
    waiting = bench.submit(1)
    await turns()
    running.cancel()
    await turns()
    await asyncio.wait_for(bench.batcher.close(), 5)
    assert await kind_of(waiting) is ErrorKind.STOPPING
    assert bench.device.running == 0
    assert bench.heard.wastes == [1]


async def test_a_thousand_callers_half_of_whom_leave_anywhere() -> None:
    """No answer is lost and none goes to the wrong caller; nothing stays in the room or at the device."""
    bench = Bench(max_batch=8, max_waiting=4000, slots=2)
    bench.device.gate.set()
    tasks = {}
    for item in range(1000):
        tasks[item] = bench.submit(item, item + 10_000, lane=item % 2)
        if item % 7 == 0:
            await asyncio.sleep(0)
        if item % 2:
            tasks[item - item % 5].cancel()
    results = await asyncio.gather(*tasks.values(), return_exceptions=True)
    answered = 0
    for item, result in zip(tasks, results, strict=True):
        if isinstance(result, Answer):
            answered += 1
            assert list(result.results) == [2 * item, 2 * item + 20_000]
        else:
            assert isinstance(result, asyncio.CancelledError)
    assert answered >= 500
    assert bench.batcher.waiting == 0
    await assert_alive(bench)
    # An exception that nobody retrieved would be reported when its future is collected, and fail this test.
    gc.collect()
