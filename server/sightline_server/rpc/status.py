"""Error kind -> gRPC status. The only place where a code is chosen.

Rule: the table is total (a test says so), the text is the error's public message, and every status carries
`google.rpc.ErrorInfo`.
"""

from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from sightline_server.errors import ErrorKind, SightlineError

DOMAIN = "sightline"
DETAILS_KEY = "grpc-status-details-bin"
DEFAULT_RETRY_S = 1.0

CODES: dict[ErrorKind, grpc.StatusCode] = {
    ErrorKind.INVALID_IMAGE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.INVALID_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.LIMIT_EXCEEDED: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.UNKNOWN_CATALOG: grpc.StatusCode.NOT_FOUND,
    ErrorKind.UNKNOWN_PRODUCT: grpc.StatusCode.NOT_FOUND,
    ErrorKind.UNKNOWN_REVISION: grpc.StatusCode.NOT_FOUND,
    ErrorKind.UNKNOWN_OPERATION: grpc.StatusCode.NOT_FOUND,
    ErrorKind.FILTER_UNSUPPORTED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.GROUPS_UNSUPPORTED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.REVISION_REMOVED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.REVISION_OUTDATED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.EMBEDDER_NOT_SERVED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.EMBEDDER_MISMATCH: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.TEXT_NOT_SUPPORTED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.CATALOG_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    ErrorKind.CATALOG_NOT_EMPTY: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.CATALOG_IS_REPLICA: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.ETAG_MISMATCH: grpc.StatusCode.ABORTED,
    ErrorKind.EMBEDDER_CHANGED: grpc.StatusCode.ABORTED,
    ErrorKind.NOT_BUILT: grpc.StatusCode.UNIMPLEMENTED,
    ErrorKind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorKind.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.GRANT_MISSING: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.GRANT_INVALID: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.GRANT_EXPIRED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.GRANT_PURPOSE: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.GRANT_OTHER_PHOTO: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.GRANT_REPLAYED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.GRANT_STORE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.QUOTA_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.ENGINE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.INDEX_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.AUDIT_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.STOPPING: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorKind.CANCELLED: grpc.StatusCode.CANCELLED,
    ErrorKind.MODEL_ANSWER: grpc.StatusCode.INTERNAL,
    ErrorKind.CONFIGURATION: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.INTERNAL: grpc.StatusCode.INTERNAL,
}

RESOURCES = {
    ErrorKind.UNKNOWN_CATALOG: "catalog",
    ErrorKind.UNKNOWN_PRODUCT: "product",
    ErrorKind.UNKNOWN_REVISION: "revision",
    ErrorKind.UNKNOWN_OPERATION: "operation",
}
"""The type of the resource that an error says is not there."""

RETRIED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}


@dataclass(frozen=True, slots=True)
class Status:
    """A gRPC status with its details, ready to abort a call with."""

    code: grpc.StatusCode
    message: str
    details: tuple[Message, ...]

    @property
    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        """The `google.rpc.Status` as gRPC carries it."""
        status = status_pb2.Status(code=code_pb2.Code.Value(self.code.name), message=self.message)
        for detail in self.details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        return ((DETAILS_KEY, status.SerializeToString()),)


def to_status(error: SightlineError, request_id: str) -> Status:
    """The status of `error`: ErrorInfo always, and the details that its code calls for."""
    code = CODES[error.kind]
    info = error_details_pb2.ErrorInfo(
        reason=error.kind.value, domain=DOMAIN, metadata={**error.metadata, "request_id": request_id}
    )
    details: list[Message] = [info]
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.kind in RESOURCES:
        details.append(error_details_pb2.ResourceInfo(resource_type=RESOURCES[error.kind], description=error.message))
    if code in RETRIED:
        details.append(retry_info(DEFAULT_RETRY_S if error.retry_after_s is None else error.retry_after_s))
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        subject = error.metadata.get("subject", "server")
        quota = error_details_pb2.QuotaFailure.Violation(subject=subject, description=error.message)
        details.append(error_details_pb2.QuotaFailure(violations=[quota]))
    return Status(code, error.message, tuple(details))


def fail(context: grpc.aio.ServicerContext[Any, Any], error: SightlineError, request_id: str) -> grpc.StatusCode:
    """Gives the call of `context` the status of `error`, with which it ends when its handler returns.

    Not by `abort`: gRPC keeps what it raises, and with it the photo, until the next call comes.
    """
    status = to_status(error, request_id)
    context.set_trailing_metadata(status.trailing_metadata)
    context.set_code(status.code)
    context.set_details(status.message)
    return status.code


def retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    """RetryInfo with a delay of `seconds`."""
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)
