"""The products of an upsert that have no status yet, in order.

Rule: bounded. There is room for a further product only while fewer than `in_flight` of them, and fewer than
`MAX_WAITING_BYTES`, wait for their status to be read.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from sightline_client import errors

MAX_WAITING_BYTES = 32 * 1024 * 1024
"""Products that wait for their status take at most this, and one product more."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A product on its way: its `message`, or the `error` for which it is not sent."""

    index: int
    id: str
    name: str
    message: bytes = b""
    error: errors.SightlineError | None = None


class Waiting:
    """The products without a status, in order; notes which of them the present call has got."""

    def __init__(self, in_flight: int) -> None:
        self._in_flight = in_flight
        self._products: deque[Outgoing] = deque()
        self._bytes = 0
        self._passed = 0
        self._new = True
        self._alone = False
        """The product that was sent is the first one of its call, and has no status yet."""
        self._changed = asyncio.Event()
        self.complete = False
        """No further product comes."""

    def __len__(self) -> int:
        return len(self._products)

    @property
    def first(self) -> Outgoing | None:
        """The product whose status comes next."""
        return self._products[0] if self._products else None

    @property
    def full(self) -> bool:
        """True if no further product may be taken now."""
        return len(self._products) >= self._in_flight or (self._bytes >= MAX_WAITING_BYTES and bool(self._products))

    def add(self, product: Outgoing) -> None:
        """Adds the last product."""
        self._products.append(product)
        self._bytes += len(product.message)
        self.notify()

    def pop(self) -> Outgoing:
        """Takes the first product out."""
        product = self._products.popleft()
        self._bytes -= len(product.message)
        self._passed = max(0, self._passed - 1)
        self._alone = self._alone and product.error is not None
        self.notify()
        return product

    def next_to_send(self) -> Outgoing | None:
        """The first product that the call has not got; None if there is none now."""
        while self._passed < len(self._products) and not self._alone:
            product = self._products[self._passed]
            self._passed += 1
            if product.error is None:
                self._alone, self._new = self._new, False
                return product
        return None

    @property
    def all_sent(self) -> bool:
        """True if the call has got every product."""
        return self.complete and self._passed >= len(self._products)

    def send_again(self) -> None:
        """A new call has got no product yet."""
        self._passed, self._new, self._alone = 0, True, False

    def finish(self) -> None:
        """Notes that no further product comes."""
        self.complete = True
        self.notify()

    def notify(self) -> None:
        """Wakes everything that waits for a change."""
        self._changed.set()

    async def change(self) -> None:
        """Waits for the next change."""
        self._changed.clear()
        await self._changed.wait()
