"""Traces: a span for each call and one for each of its stages. Off unless the settings name a collector.

Rule: a span says what took how long, never what a photo shows; its attributes are those of `ATTRIBUTES` and no other.
While tracing is off this costs a call of an empty function, and OpenTelemetry is not imported.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

ATTRIBUTES = frozenset({"rpc.system.name", "rpc.method", "rpc.status_code", "error.type", "sightline.request_id"})
"""Every attribute that a span may have; names from OpenTelemetry's conventions for RPC where they have one."""

Metadata = Iterable[tuple[str, str | bytes]]


class CallSpan(Protocol):
    """The span of a call that is under way."""

    def identified(self, principal: str) -> None:
        """The call is one of `principal`, whose trace it may follow; stages have spans from now on."""

    def ended_with(self, code: str) -> None:
        """The call ended with this gRPC code."""


class Tracing(Protocol):
    """Opens spans; the stages of a call are found below it because they run in its task."""

    def call(
        self, method: str, request_id: str, metadata: Callable[[], Metadata | None]
    ) -> AbstractContextManager[CallSpan]:
        """The span of a call of `method`, given as SERVICE/METHOD.

        `metadata` gives that of the request, which may name the caller's trace. That of a caller who is never
        identified is not followed.
        """

    def stage(self, name: str) -> AbstractContextManager[None]:
        """The span of a stage of the current call."""

    def close(self) -> None:
        """Sends what is left, within a bound."""


class NoSpan:
    """The span of a call while tracing is off."""

    def identified(self, principal: str) -> None:
        """Nothing."""

    def ended_with(self, code: str) -> None:
        """Nothing."""


NO_SPAN: CallSpan = NoSpan()
"""The span of every call while tracing is off."""


class NoTracing:
    """Tracing while it is off."""

    def __init__(self) -> None:
        self._call: AbstractContextManager[CallSpan] = nullcontext(NO_SPAN)
        self._stage: AbstractContextManager[None] = nullcontext()

    def call(
        self, method: str, request_id: str, metadata: Callable[[], Metadata | None]
    ) -> AbstractContextManager[CallSpan]:
        """Nothing."""
        return self._call

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Nothing."""
        return self._stage

    def close(self) -> None:
        """Nothing."""


OFF: Tracing = NoTracing()
