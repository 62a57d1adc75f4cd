"""The asyncio driver of a `Window`: many callers in, one device call at a time out.

A slot at the device is reserved first and the batch is formed last, so a batch grows while the device is busy and no
timer is needed (the scheduling of text-embeddings-inference). Rule: each caller gets its own answer or an error,
whatever happens to the others of its batch: a cancelled call, an expired deadline, a failing model or an invalid output
affects only its own request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sightline_server.batching.window import Batch, Entry, Window, WindowFull, nothing
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Clock

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
ItemT_contra = TypeVar("ItemT_contra", contravariant=True)
ResultT_co = TypeVar("ResultT_co", covariant=True)


class BatchFunction(Protocol[ItemT_contra, ResultT_co]):
    """Runs the items of a batch until `deadline` and returns one result each, in order."""

    def __call__(self, items: Sequence[ItemT_contra], *, deadline: float) -> Awaitable[Sequence[ResultT_co]]:
        """Runs one batch."""


class BatchObserver(Protocol):
    """Observer of a batcher; the telemetry implements it."""

    def batch_started(self, size: int, waiting: int) -> None:
        """A batch of `size` items goes to the device, and `waiting` items remain in the queue."""

    def batch_ended(self, seconds: float) -> None:
        """The device answered or failed, `seconds` after the batch was formed."""

    def entry_waited(self, seconds: float) -> None:
        """An entry got its slot after `seconds`."""

    def dropped(self, reason: str, items: int) -> None:
        """`items` were refused or dropped without being run: `expired`, `cancelled` or `full`."""

    def wasted(self, items: int) -> None:
        """`items` were run although their call had been cancelled."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[ResultT]):
    """The results of one entry, in order, and the seconds that it waited for its batch."""

    results: Sequence[ResultT]
    waited_s: float


class MicroBatcher(Generic[ItemT, ResultT]):
    """Batches the items of concurrent `submit` calls into calls of `run`, at most `slots` at once."""

    def __init__(
        self,
        run: BatchFunction[ItemT, ResultT],
        window: Window[ItemT],
        *,
        slots: int,
        clock: Clock,
        observer: BatchObserver,
    ) -> None:
        self._run = run
        self._window = window
        self._clock = clock
        self._observer = observer
        self._free_slots = slots
        self._running: set[asyncio.Task[None]] = set()
        self._answers: dict[Entry[ItemT], asyncio.Future[Answer[ResultT]]] = {}
        self._pump_due = False
        self._closed = False

    @property
    def max_batch(self) -> int:
        """The most items that one `submit` may hold."""
        return self._window.max_batch

    @property
    def waiting(self) -> int:
        """Items that wait for a batch."""
        return self._window.waiting

    @property
    def free_slots(self) -> int:
        """Batches that would run at once if they were submitted now."""
        return 0 if self._window.waiting else self._free_slots

    async def submit(
        self, items: Sequence[ItemT], *, deadline: float, lane: int = 0, on_start: Callable[[], None] = nothing
    ) -> Answer[ResultT]:
        """Runs `items` together in one batch, with those of others; returns one result each, in order.

        `on_start` is called when their batch begins.
        Raises `SightlineError`: OVERLOADED when the queue is full, DEADLINE_EXCEEDED when `deadline` passed while
        waiting, MODEL_ANSWER when the batch's answer has the wrong length, STOPPING after `close`, or whatever `run`
        raised. Cancelling removes waiting items from the queue.
        """
        if self._closed:
            raise stopping()
        entry = Entry(items, deadline, self._clock(), lane, on_start)
        self._admit(entry)
        answer: asyncio.Future[Answer[ResultT]] = asyncio.get_running_loop().create_future()
        self._answers[entry] = answer
        self._schedule_pump()
        try:
            return await answer
        finally:
            # Its error has the frame of this call: a circle that would keep the items until garbage is collected.
            del self._answers[entry], answer
            if self._window.withdraw(entry):
                self._observer.dropped("cancelled", entry.cost)

    async def close(self) -> None:
        """Fails the waiting entries with STOPPING and returns when the running batches have ended.

        Batches that hold only cancelled calls are abandoned: a device that does not answer must not delay a stop.
        """
        self._closed = True
        for entry in self._window.close():
            self._settle(entry, stopping())
        if all(answer.done() for answer in self._answers.values()):
            for task in self._running:
                task.cancel()
        while self._running:
            await asyncio.wait(self._running)

    def _admit(self, entry: Entry[ItemT]) -> None:
        try:
            self._window.offer(entry)
        except WindowFull:
            self._observer.dropped("full", entry.cost)
            raise SightlineError(
                ErrorKind.OVERLOADED,
                "the queue of waiting work is full",
                retry_after_s=1.0,
                metadata={"limit": "queue"},
            ) from None

    def _schedule_pump(self) -> None:
        # In the next iteration of the event loop: callers that are ready in the same iteration share the batch.
        if not self._pump_due:
            self._pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        while self._free_slots and self._window.waiting:
            batch = self._window.take(self._clock())
            for entry in batch.expired:
                self._observer.dropped("expired", entry.cost)
                self._settle(
                    entry,
                    SightlineError(
                        ErrorKind.DEADLINE_EXCEEDED, "the deadline passed while the request waited in a queue"
                    ),
                )
            if batch.entries:
                self._free_slots -= 1
                task = asyncio.create_task(self._run_batch(batch))
                self._running.add(task)
                task.add_done_callback(self._slot_freed)

    def _slot_freed(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._free_slots += 1
        self._pump()

    async def _run_batch(self, batch: Batch[ItemT]) -> None:
        started = self._clock()
        items = batch.items
        try:
            self._observer.batch_started(len(items), self._window.waiting)
            for entry in batch.entries:
                self._observer.entry_waited(started - entry.offered_at)
                entry.on_start()
            results = await self._timed(items, batch.deadline)
            if len(results) != len(items):
                raise SightlineError(ErrorKind.MODEL_ANSWER, "the model's answer has the wrong length")
        except Exception as error:  # whatever the device raised belongs to the callers; the loop goes on
            for entry in batch.entries:
                self._settle(entry, error)
            return
        except BaseException:
            for entry in batch.entries:
                self._settle(entry, stopping())
            raise
        position = 0
        for entry in batch.entries:
            mine = results[position : position + entry.cost]
            position += entry.cost
            self._settle(entry, Answer(mine, started - entry.offered_at))

    async def _timed(self, items: Sequence[ItemT], deadline: float) -> Sequence[ResultT]:
        began = self._clock()
        try:
            return await self._run(items, deadline=deadline)
        finally:
            self._observer.batch_ended(self._clock() - began)

    def _settle(self, entry: Entry[ItemT], outcome: Answer[ResultT] | Exception) -> None:
        answer = self._answers.get(entry)
        if answer is None or answer.done():
            self._observer.wasted(entry.cost)
        elif isinstance(outcome, Exception):
            answer.set_exception(copy_for_caller(outcome))
        else:
            answer.set_result(outcome)


def stopping() -> SightlineError:
    """The error of work that is ended by a stop."""
    return SightlineError(ErrorKind.STOPPING, "the server is stopping", retry_after_s=1.0)


def copy_for_caller(error: Exception) -> Exception:
    """An exception of the caller's own: one object raised in many tasks would grow one traceback for all of them."""
    if isinstance(error, SightlineError):
        own: Exception = SightlineError(
            error.kind, error.message, field=error.field, retry_after_s=error.retry_after_s, metadata=error.metadata
        )
    else:
        own = SightlineError(ErrorKind.INTERNAL, "internal error")
    own.__cause__ = error
    return own
