"""The exceptions of both clients; callers never see gRPC's own exceptions.

Rule: every error carries what the server said about it, and the events that had come before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sightline_client.events import Event
from sightline_console.terminal import printable


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One request field that the server refused, and why."""

    field: str
    description: str


class SightlineError(Exception):
    """Base of everything that this package raises.

    `code` is the gRPC code's name, empty where the call was never made. `reason` is the machine-readable reason of
    the server's ErrorInfo and `metadata` its facts. `request_id` finds the call in the server's log. `retry_after_s`
    says when trying again makes sense. `events` are those that had arrived.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        request_id: str = "",
        retry_after_s: float | None = None,
        violations: Sequence[FieldViolation] = (),
        metadata: Mapping[str, str] = MappingProxyType({}),
        events: Sequence[Event] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.violations = tuple(violations)
        self.metadata = dict(metadata)
        self.events = tuple(events)

    def one_line(self) -> str:
        """The error as one human-readable line: fields, message, code, reason, request id."""
        facts = [self.code, self.reason]
        facts.append(f"request {self.request_id}" if self.request_id else "")
        facts.append(f"retry after {self.retry_after_s:g} s" if self.retry_after_s is not None else "")
        known = ", ".join(fact for fact in facts if fact)
        # Of a single field a server says what it says of the whole request, often with the field's name.
        said = [each.description for each in self.violations if each.description not in self.message]
        fields = ", ".join(each.field for each in self.violations if each.field and each.field not in self.message)
        text = "; ".join([f"{fields}: {self.message}" if fields else self.message, *said])
        return printable(" ".join(text.split()) + (f" ({known})" if known else ""))


class ConfigurationError(SightlineError):
    """The client's own options cannot be used, such as a certificate that cannot be read."""


class InvalidRequestError(SightlineError):
    """The request is at fault; `violations` name its fields. Sending it again will not help."""


class PhotoTooLargeError(InvalidRequestError):
    """The photo is over the byte limit; raised before anything is sent where the client knows the limit."""


class RequestTooLargeError(InvalidRequestError):
    """The message is over the limit in bytes of the client or of the server, such as a product with many images."""


class AlreadyExistsError(InvalidRequestError):
    """The resource exists already, such as a catalog of this name."""


class FailedPreconditionError(InvalidRequestError):
    """The state of the server or of the catalog does not allow this; `reason` says which state that is."""


class ConflictError(SightlineError):
    """The product or the catalog has changed since its `etag` was read. Read it again, and decide again."""


class AnswerTooLargeError(SightlineError):
    """One event of the answer is over a size limit; the message says whose. `events` are those before it."""


class ClientStateError(SightlineError):
    """The client is closed, or is used in another event loop or another process than the one it belongs to."""


class NotFoundError(SightlineError):
    """The named catalog, product, revision or operation does not exist."""


class NotBuiltError(SightlineError):
    """The server does not have this yet."""


class UnauthenticatedError(SightlineError):
    """No credentials, or bad ones."""


class PermissionDeniedError(SightlineError):
    """The credentials do not allow this."""


class OverloadedError(SightlineError):
    """The server has no room now. Never retried by the client: wait `retry_after_s`."""


class UnavailableError(SightlineError):
    """The server, its engine or its index cannot be reached, also after the client's own retries."""


class StreamBrokenError(UnavailableError):
    """The stream ended early, after its first event; `events` are those that had arrived."""


class DeadlineExceededError(SightlineError):
    """The answer did not come in time; `events` are those that did."""


class SearchCancelledError(SightlineError):
    """The server ended the call as cancelled. (A cancelled asyncio task sees `asyncio.CancelledError` instead.)"""


class InternalError(SightlineError):
    """The server failed in a way that it does not explain; its log does, under `request_id`."""
