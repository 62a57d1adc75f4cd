"""A budget of bytes for messages: reserved before they are read, and kept for as long as they are in memory.

Rule: gRPC hands a message over only when it is whole, so its largest size is reserved while it is read. Connections
that wait take turns. While one waits, a read that takes much longer than reads usually do gives way: an upload that
never ends costs others a moment, not its whole time limit.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from sightline_server.ports import Clock

PATIENCE_S = 0.25
"""Seconds that a read may always take before it has to yield its memory."""
PATIENCE_FACTOR = 10
RECENT_READS = 32


@dataclass(eq=False, slots=True)
class Reservation:
    """`size` bytes of the budget for a message of the connection `owner`; `give_way` ends its read."""

    owner: str
    size: int
    give_way: Callable[[], object]
    since: float = 0.0
    gave_way: bool = False


class ByteBudget:
    """`total` bytes. `on_used` is called with the number of used bytes whenever it changes."""

    def __init__(self, total: int, *, clock: Clock, on_used: Callable[[int], object] = lambda used: None) -> None:
        self._total = total
        self._clock = clock
        self._on_used = on_used
        self._used = 0
        self._leaving = 0
        self._waiting: dict[Reservation, asyncio.Future[None]] = {}
        self._reads: dict[Reservation, None] = {}
        self._held_by: Counter[str] = Counter()
        self._turns: dict[str, int] = {}
        self._turn = 0
        self._took: deque[float] = deque(maxlen=RECENT_READS)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def used(self) -> int:
        """Bytes that are reserved or held."""
        return self._used

    @property
    def waiting(self) -> int:
        """Reads that wait for bytes."""
        return len(self._waiting)

    async def reserve(self, size: int, owner: str, give_way: Callable[[], object]) -> Reservation:
        """Waits until `size` bytes are free and reserves them for a read that begins now."""
        held = self.reserve_now(size, owner, give_way)
        if held is None:
            held = Reservation(owner, size, give_way)
            await self._wait(held)
        return held

    def was_read(self, held: Reservation, size: int) -> None:
        """The read has ended: from now on the message takes `size` bytes, and does not give way."""
        self._reads.pop(held, None)
        if not held.gave_way:
            self._took.append(self._clock() - held.since)
        self._give_back(held, held.size - size)

    def release(self, held: Reservation) -> None:
        """The message is not in memory any more."""
        self._reads.pop(held, None)
        self._held_by[held.owner] -= 1
        if not self._held_by[held.owner]:
            del self._held_by[held.owner]
        self._give_back(held, held.size)

    def reserve_now(self, size: int, owner: str, give_way: Callable[[], object]) -> Reservation | None:
        """Reserves `size` bytes for a read that begins now, if they are free and no other read waits for them."""
        if self._waiting or self._used + size > self._total:
            return None
        held = Reservation(owner, size, give_way)
        self._grant(held)
        return held

    async def _wait(self, wanted: Reservation) -> None:
        granted = self._waiting[wanted] = asyncio.get_running_loop().create_future()
        self._press()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.cancelled():
                self._waiting.pop(wanted, None)
            else:
                self.release(wanted)
            raise
        finally:
            if not self._waiting:
                self._turns.clear()

    def _grant(self, wanted: Reservation) -> None:
        wanted.since = self._clock()
        self._reads[wanted] = None
        self._held_by[wanted.owner] += 1
        self._use(wanted.size)

    def _give_back(self, held: Reservation, size: int) -> None:
        if held.gave_way:
            self._leaving -= size
        held.size -= size
        self._use(-size)
        while self._waiting:
            following = min(self._waiting, key=self._order)
            granted = self._waiting[following]
            if not granted.cancelled():
                if self._used + following.size > self._total:
                    self._press()
                    return
                self._turn += 1
                self._turns[following.owner] = self._turn
                self._grant(following)
                granted.set_result(None)
            del self._waiting[following]

    def _order(self, waiting: Reservation) -> tuple[int, int]:
        """Connections that hold less go first, then those whose turn was longer ago; of one, in order of arrival."""
        return self._held_by[waiting.owner], self._turns.get(waiting.owner, 0)

    def _use(self, size: int) -> None:
        self._used += size
        self._on_used(self._used)

    def _press(self) -> None:
        """Lets the oldest reads give way as far as those that wait need it, now or when their time has come."""
        if self._timer is not None:
            return
        patience_s = max(PATIENCE_S, PATIENCE_FACTOR * median(self._took)) if self._took else PATIENCE_S
        short = sum(waiting.size for waiting in self._waiting) - (self._total - self._used) - self._leaving
        now = self._clock()
        for oldest in list(self._reads):
            if short <= 0:
                return
            left_s = oldest.since + patience_s - now
            if left_s > 0:
                self._timer = asyncio.get_running_loop().call_later(left_s, self._press_again)
                return
            del self._reads[oldest]
            oldest.gave_way = True
            self._leaving += oldest.size
            short -= oldest.size
            oldest.give_way()

    def _press_again(self) -> None:
        self._timer = None
        if self._waiting:
            self._press()
