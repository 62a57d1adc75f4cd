"""Error kind -> gRPC status: total, with the details that each code promises, and nothing internal in them."""

from typing import TypeVar

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.status import CODES, DETAILS_KEY, to_status

MessageT = TypeVar("MessageT", bound=Message)
DETAILS = {
    "NOT_FOUND": {"ErrorInfo", "ResourceInfo"},
    "INVALID_ARGUMENT": {"ErrorInfo", "BadRequest"},
    "UNAVAILABLE": {"ErrorInfo", "RetryInfo"},
    "RESOURCE_EXHAUSTED": {"ErrorInfo", "RetryInfo", "QuotaFailure"},
}


def test_the_table_is_total() -> None:
    assert set(CODES) == set(ErrorKind)
    assert grpc.StatusCode.OK not in CODES.values()
    assert grpc.StatusCode.UNKNOWN not in CODES.values()


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_carries_the_details_of_its_code(kind: ErrorKind) -> None:
    error = SightlineError(kind, "public words", field="photo", metadata={"limit": "x"})
    error.__cause__ = RuntimeError("private words")
    status = to_status(error, "req-7")
    assert {type(detail).__name__ for detail in status.details} == DETAILS.get(status.code.name, {"ErrorInfo"})
    ((key, packed),) = status.trailing_metadata
    assert key == DETAILS_KEY
    parsed = status_pb2.Status.FromString(packed)
    assert parsed.code == code_pb2.Code.Value(status.code.name) == status.code.value[0]
    assert parsed.message == status.message == "public words"
    info = unpacked(parsed, error_details_pb2.ErrorInfo())
    assert (info.reason, info.domain) == (kind.name, "sightline")
    assert dict(info.metadata) == {"limit": "x", "request_id": "req-7"}
    assert b"private" not in packed


def unpacked(status: status_pb2.Status, wanted: MessageT) -> MessageT:
    for detail in status.details:
        if detail.Unpack(wanted):
            return wanted
    raise AssertionError(f"no {type(wanted).__name__}")


def test_the_field_at_fault_is_named() -> None:
    status = to_status(SightlineError(ErrorKind.INVALID_REQUEST, "m", field="regions[3].box"), "r")
    bad = next(detail for detail in status.details if isinstance(detail, error_details_pb2.BadRequest))
    assert [(each.field, each.description) for each in bad.field_violations] == [("regions[3].box", "m")]


@pytest.mark.parametrize(
    ("given", "seconds", "nanos"), [(None, 1, 0), (0.25, 0, 250_000_000), (2.0, 2, 0), (0.0, 0, 0)]
)
def test_the_retry_delay_is_the_errors_own(given: float | None, seconds: int, nanos: int) -> None:
    status = to_status(SightlineError(ErrorKind.OVERLOADED, "m", retry_after_s=given), "r")
    retry = next(detail for detail in status.details if isinstance(detail, error_details_pb2.RetryInfo))
    assert (retry.retry_delay.seconds, retry.retry_delay.nanos) == (seconds, nanos)
