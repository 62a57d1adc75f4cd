"""From gRPC's failed calls to the client's own errors.

Rule: one total table from code to error; the details (`google.rpc.ErrorInfo`, `BadRequest`, `RetryInfo`, `RequestInfo`)
become plain values.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from sightline_client import errors, limits, values
from sightline_client.events import Accepted, Event
from sightline_client.options import ClientOptions
from sightline_client.wording import SEARCH, Wording

ERRORS: Mapping[grpc.StatusCode, type[errors.SightlineError]] = MappingProxyType(
    {
        grpc.StatusCode.OK: errors.InternalError,
        grpc.StatusCode.CANCELLED: errors.SearchCancelledError,
        grpc.StatusCode.UNKNOWN: errors.InternalError,
        grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequestError,
        grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
        grpc.StatusCode.NOT_FOUND: errors.NotFoundError,
        grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExistsError,
        grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDeniedError,
        grpc.StatusCode.UNAUTHENTICATED: errors.UnauthenticatedError,
        grpc.StatusCode.RESOURCE_EXHAUSTED: errors.OverloadedError,
        grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPreconditionError,
        grpc.StatusCode.ABORTED: errors.ConflictError,
        grpc.StatusCode.OUT_OF_RANGE: errors.InvalidRequestError,
        grpc.StatusCode.UNIMPLEMENTED: errors.NotBuiltError,
        grpc.StatusCode.INTERNAL: errors.InternalError,
        grpc.StatusCode.UNAVAILABLE: errors.UnavailableError,
        grpc.StatusCode.DATA_LOSS: errors.InternalError,
    }
)

_CODE_OF = {code.value[0]: code for code in grpc.StatusCode}

_OF_LIMIT: Mapping[limits.Limit, type[errors.SightlineError]] = MappingProxyType(
    {
        limits.Limit.ANSWER: errors.AnswerTooLargeError,
        limits.Limit.SERVER_ANSWER: errors.AnswerTooLargeError,
        limits.Limit.METADATA: errors.InternalError,
    }
)


@dataclass(slots=True)
class _Details:
    reason: str = ""
    request_id: str = ""
    retry_after_s: float | None = None
    violations: list[errors.FieldViolation] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


def error_from_call(
    failed: grpc.aio.AioRpcError, arrived: Sequence[Event], options: ClientOptions, wording: Wording = SEARCH
) -> errors.SightlineError:
    """The client's error for a failed call; `arrived` are the events that came before it."""
    code = failed.code()
    details = _details(_status(failed))
    kind, message = _kind_and_message(failed, details, bool(arrived), options, wording)
    return kind(
        message,
        code=code.name,
        reason=details.reason,
        request_id=details.request_id or _accepted_id(arrived),
        retry_after_s=details.retry_after_s,
        violations=details.violations,
        metadata=details.metadata,
        events=arrived,
    )


def error_of(status: status_pb2.Status) -> errors.SightlineError | None:
    """The client's error for the status of one product; None for OK."""
    if not status.code:
        return None
    code = _CODE_OF.get(status.code, grpc.StatusCode.UNKNOWN)
    details = _details(status)
    return ERRORS[code](
        status.message or code.name,
        code=code.name,
        reason=details.reason,
        request_id=details.request_id,
        retry_after_s=details.retry_after_s,
        violations=details.violations,
        metadata=details.metadata,
    )


def answer_too_large(
    size: int, arrived: Sequence[Event], options: ClientOptions, wording: Wording = SEARCH
) -> errors.AnswerTooLargeError:
    """The error for a message of `size` bytes, or of 0 where the size is not known."""
    whole = f"{wording.answer} has {size} bytes" if size else f"{wording.answer} is too large"
    return errors.AnswerTooLargeError(
        f"{whole}, the client's limit is {options.max_answer_bytes}: raise ClientOptions.max_answer_bytes"
        f"{wording.way_out}",
        code=grpc.StatusCode.RESOURCE_EXHAUSTED.name,
        request_id=_accepted_id(arrived),
        events=arrived,
    )


def unreadable_answer(arrived: Sequence[Event], message: str = "SearchResponse") -> errors.InternalError:
    """The error for bytes that are not a `message` of the contract."""
    return errors.InternalError(
        f"the server sent a message that is not a {message}: is the target a Sightline server?",
        code=grpc.StatusCode.INTERNAL.name,
        request_id=_accepted_id(arrived),
        events=arrived,
    )


def ended_early(arrived: Sequence[Event]) -> errors.StreamBrokenError:
    """The error for a stream that ended without an error and without Done."""
    return errors.StreamBrokenError(
        "the stream ended before it was done", code="OK", request_id=_accepted_id(arrived), events=arrived
    )


def _kind_and_message(
    failed: grpc.aio.AioRpcError, details: _Details, broken: bool, options: ClientOptions, wording: Wording
) -> tuple[type[errors.SightlineError], str]:
    """The class and the text. Statuses without a reason may be gRPC's own, whose code and text mislead."""
    code = failed.code()
    message = failed.details() or code.name
    # A server that stops lets gRPC end what no handler has taken yet, with this code (grpc/grpc#41785). What the caller
    # itself cancels never comes here.
    if code is grpc.StatusCode.CANCELLED and not broken:
        return errors.UnavailableError, "the server stopped before it took the call"
    if code is grpc.StatusCode.UNAVAILABLE and broken:
        return errors.StreamBrokenError, message
    if details.reason:
        return ERRORS[code], message
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.DeadlineExceededError, "the answer did not come within the deadline"
    if code is grpc.StatusCode.UNKNOWN and "Failed to create channel" in message:
        return errors.ConfigurationError, f"target {values.quoted(options.target)} is not an address that gRPC can use"
    if code is grpc.StatusCode.UNIMPLEMENTED and wording.not_offered:
        return errors.NotBuiltError, wording.not_offered
    limit = _limit(failed, message, options) if code is grpc.StatusCode.RESOURCE_EXHAUSTED else None
    if limit is limits.Limit.ANSWER:
        sizes = limits.answer_size(message)
        return errors.AnswerTooLargeError, answer_too_large(sizes, (), options, wording).message
    if limit is None:
        return ERRORS[code], message
    return _OF_LIMIT.get(limit, wording.request_too_large), f"{limit.value}: {message}"


def _limit(failed: grpc.aio.AioRpcError, message: str, options: ClientOptions) -> limits.Limit | None:
    from_server = bool(failed.trailing_metadata())
    return limits.exceeded(message, options.grpc_answer_bytes, from_server=from_server)


def _accepted_id(arrived: Sequence[Event]) -> str:
    return next((event.request_id for event in arrived if isinstance(event, Accepted)), "")


def _status(failed: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    try:
        return rpc_status.from_call(failed)
    # Details that cannot be parsed, or contradict the call's code and text, may come from a proxy and are not trusted.
    except (ValueError, DecodeError):
        return None


def _details(status: status_pb2.Status | None) -> _Details:
    found = _Details()
    for packed in status.details if status is not None else ():
        for kind, read in _READERS.items():
            message = kind()
            with suppress(DecodeError):
                if packed.Unpack(message):
                    read(found, message)
    return found


def _read_info(found: _Details, info: error_details_pb2.ErrorInfo) -> None:
    found.reason = info.reason
    found.metadata.update(info.metadata)
    found.request_id = found.request_id or info.metadata.get("request_id", "")


def _read_request(found: _Details, info: error_details_pb2.RequestInfo) -> None:
    found.request_id = info.request_id


def _read_retry(found: _Details, info: error_details_pb2.RetryInfo) -> None:
    found.retry_after_s = info.retry_delay.seconds + info.retry_delay.nanos / 1e9


def _read_fields(found: _Details, info: error_details_pb2.BadRequest) -> None:
    found.violations.extend(
        errors.FieldViolation(violation.field, violation.description) for violation in info.field_violations
    )


_READERS: Mapping[Any, Any] = MappingProxyType(
    {
        error_details_pb2.ErrorInfo: _read_info,
        error_details_pb2.RequestInfo: _read_request,
        error_details_pb2.RetryInfo: _read_retry,
        error_details_pb2.BadRequest: _read_fields,
    }
)
