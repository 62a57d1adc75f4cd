"""The message of a call: reserved, read within its time, and counted for as long as it is in memory.

Rule: a read holds no slot. It may take what the largest request takes at the lowest rate that is allowed,
and never longer than the call's deadline.
"""

import asyncio
from types import TracebackType
from typing import Any, Self

from sightline_server.admission.budget import ByteBudget, Reservation
from sightline_server.admission.refusal import overloaded
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Clock
from sightline_server.rpc.call import Call, Context
from sightline_server.settings import LimitSettings

SETTLE_S = 0.05
"""Longest time in seconds for gRPC to report that it ended a call, such as one with a message over its limit."""


class Uploads:
    """Reads the requests of all calls; they share `budget`."""

    def __init__(self, budget: ByteBudget, limits: LimitSettings, clock: Clock) -> None:
        self.budget = budget
        self.clock = clock
        self.largest = limits.largest_request
        self.seconds_of_a_read = limits.largest_request / limits.min_upload_rate

    def receive(self, context: "Context[Any]", call: Call[Any], peer: str) -> "Upload":
        """The upload of `call` on the connection `peer`; waits for room when it is entered."""
        return Upload(self, context, call, peer)


class Upload:
    """The memory of a request, reserved before it is read until the block ends."""

    _held: Reservation

    def __init__(self, uploads: Uploads, context: "Context[Any]", call: Call[Any], peer: str) -> None:
        self._uploads = uploads
        self._context = context
        self._call = call
        self._peer = peer
        self._gave_way = False

    async def __aenter__(self) -> Self:
        self._held = await self._uploads.budget.reserve(self._uploads.largest, self._peer, self._give_way)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._uploads.budget.release(self._held)

    async def message(self) -> bytes:
        """The one message of the call. Raises `SightlineError`; ends the call when it takes too long."""
        seconds = self._uploads.seconds_of_a_read
        until = self._uploads.clock() + seconds
        if timed := until < self._call.deadline:
            self._call.end_at(until, too_slow(seconds))
        raw = await self._context.read()
        if not isinstance(raw, bytes):
            # A call that gRPC ended looks like one that its caller ended, until gRPC cancels it.
            await asyncio.sleep(SETTLE_S)
            raise SightlineError(ErrorKind.INVALID_REQUEST, "the call ended without a request")
        self._uploads.budget.was_read(self._held, len(raw))
        await self._end_of_stream()
        self._call.arrived = self._uploads.clock()
        if timed and not self._gave_way:
            self._call.end_at(self._call.deadline, None)
        return raw

    async def _end_of_stream(self) -> None:
        """Checks that no second message comes, which may be as large as the first. Where there is no room for it, gRPC
        is not asked, and what it holds stays within HTTP/2's window."""
        second = self._uploads.budget.reserve_now(self._uploads.largest, self._peer, self._give_way)
        if second is not None:
            try:
                if isinstance(await self._context.read(), bytes):
                    raise SightlineError(ErrorKind.INVALID_REQUEST, "the call has more than one request")
            finally:
                self._uploads.budget.release(second)

    def _give_way(self) -> None:
        self._gave_way = True
        self._call.end_now(slow_upload())


def slow_upload() -> SightlineError:
    """The refusal of an upload that takes much longer than others, while others wait for its memory."""
    return overloaded("slow_upload", "the request took too long to arrive while others were waiting")


def too_slow(seconds: float) -> SightlineError:
    """The error of an upload below the lowest rate."""
    return SightlineError(
        ErrorKind.DEADLINE_EXCEEDED,
        f"the request did not arrive within {seconds:.0f} s",
        metadata={"limit": "min_upload_rate"},
    )
