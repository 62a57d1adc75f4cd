"""The queue of a batcher: which entries wait, go next or are dropped. Sans-IO: no clock, no tasks, no locks.

Rule: every offered entry leaves the queue exactly once: in a batch, expired, or withdrawn. Lower lanes go first; within
a lane the order is kept. Entries are never split, so that items that were submitted together share a batch.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class EntryState(Enum):
    """The state of an entry."""

    WAITING = auto()
    TAKEN = auto()
    EXPIRED = auto()
    WITHDRAWN = auto()


def nothing() -> None:
    """Does nothing at the start of an entry; the default callback."""


@dataclass(eq=False, slots=True)
class Entry(Generic[ItemT]):
    """Items of one caller that stay together. `deadline` and `offered_at` are instants of one monotonic clock.

    `on_start` is called when their batch is formed.
    """

    items: Sequence[ItemT]
    deadline: float
    offered_at: float
    lane: int = 0
    on_start: Callable[[], None] = nothing
    state: EntryState = field(default=EntryState.WAITING, init=False)

    @property
    def cost(self) -> int:
        """Number of items that the entry adds to a batch."""
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Batch(Generic[ItemT]):
    """The result of `take`: entries to run together, and those whose deadline passed while they waited."""

    entries: tuple[Entry[ItemT], ...]
    expired: tuple[Entry[ItemT], ...]

    @property
    def items(self) -> list[ItemT]:
        """The items of all entries, in order."""
        return [item for entry in self.entries for item in entry.items]

    @property
    def deadline(self) -> float:
        """The latest deadline of the members: the batch is worth running until then."""
        return max(entry.deadline for entry in self.entries)


class WindowFull(Exception):  # noqa: N818  # it is an outcome, not a fault
    """The entry does not fit into the queue."""


class Window(Generic[ItemT]):
    """A bounded queue with lanes, from which batches of at most `max_batch` items are taken.

    At most `max_waiting` items wait. Raises ValueError when a bound is not positive.
    """

    def __init__(self, *, max_batch: int, max_waiting: int, lanes: int = 1) -> None:
        if min(max_batch, max_waiting, lanes) < 1:
            raise ValueError("max_batch, max_waiting and lanes must be positive")
        self.max_batch = max_batch
        self.max_waiting = max_waiting
        self._lanes: tuple[deque[Entry[ItemT]], ...] = tuple(deque() for _ in range(lanes))
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Items that wait."""
        return self._waiting

    def offer(self, entry: Entry[ItemT]) -> None:
        """Adds `entry` to the queue.

        Raises `WindowFull` when it does not fit, ValueError when it is empty or could never be in a batch.
        """
        if not 1 <= entry.cost <= self.max_batch:
            raise ValueError(f"an entry holds 1 to {self.max_batch} items, not {entry.cost}")
        if self._waiting + entry.cost > self.max_waiting:
            raise WindowFull
        self._lanes[entry.lane].append(entry)
        self._waiting += entry.cost

    def withdraw(self, entry: Entry[ItemT]) -> bool:
        """Removes a waiting entry of a cancelled call; False when it no longer waits."""
        if entry.state is not EntryState.WAITING:
            return False
        self._lanes[entry.lane].remove(entry)
        self._leave(entry, EntryState.WITHDRAWN)
        return True

    def take(self, now: float) -> Batch[ItemT]:
        """Forms the next batch at instant `now`; it is empty when no entry worth running waits."""
        taken: list[Entry[ItemT]] = []
        expired: list[Entry[ItemT]] = []
        budget = self.max_batch
        for lane in self._lanes:
            while lane and (lane[0].deadline <= now or lane[0].cost <= budget):
                entry = lane.popleft()
                if entry.deadline <= now:
                    self._leave(entry, EntryState.EXPIRED)
                    expired.append(entry)
                else:
                    self._leave(entry, EntryState.TAKEN)
                    taken.append(entry)
                    budget -= entry.cost
            if lane:
                # An entry that did not fit goes first next time; entries of later lanes do not overtake it.
                break
        return Batch(tuple(taken), tuple(expired))

    def close(self) -> Iterable[Entry[ItemT]]:
        """Empties the queue; returns the entries that waited, as withdrawn."""
        left = [entry for lane in self._lanes for entry in lane]
        for lane in self._lanes:
            lane.clear()
        for entry in left:
            self._leave(entry, EntryState.WITHDRAWN)
        return left

    def _leave(self, entry: Entry[ItemT], state: EntryState) -> None:
        entry.state = state
        self._waiting -= entry.cost
