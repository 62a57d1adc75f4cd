"""The status of one product: the errors of a call's status, with their details, for one message or one item."""

from collections.abc import Sequence

from google.protobuf.any_pb2 import Any
from google.rpc import status_pb2

from sightline.v1 import catalog_service_pb2
from sightline_server.domain.writes import MISSING, STALE
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.status import to_status

ProductStatus = catalog_service_pb2.ProductStatus


def written(name: str) -> ProductStatus:
    """The status of a product that was written."""
    return ProductStatus(name=name, status=status_pb2.Status())


def refused(name: str, error: SightlineError, request_id: str) -> ProductStatus:
    """The status of a product that was not written."""
    status = to_status(error, request_id)
    made = status_pb2.Status(code=status.code.value[0], message=status.message)
    for detail in status.details:
        packed = Any()
        packed.Pack(detail)
        made.details.append(packed)
    return ProductStatus(name=name, status=made)


def outcome(name: str, seq: int, request_id: str, *, allow_missing: bool = False) -> ProductStatus:
    """The status of a product whose receipt has `seq`."""
    if seq == STALE:
        return refused(name, stale("product"), request_id)
    if seq == MISSING and not allow_missing:
        return refused(name, unknown_product(), request_id)
    return written(name)


def stale(what: str) -> SightlineError:
    """The error of a write whose etag is not that of what is stored."""
    message = f"the {what} was changed since its etag was read, or is not there: read it again"
    return SightlineError(ErrorKind.ETAG_MISMATCH, message, field="etag")


def unknown_product() -> SightlineError:
    """The error of a product that is not in the catalog."""
    return SightlineError(ErrorKind.UNKNOWN_PRODUCT, "there is no such product in the catalog", field="name")


def merged(count: int, refusals: dict[int, ProductStatus], others: Sequence[ProductStatus]) -> list[ProductStatus]:
    """`count` statuses in order: those of `refusals` at their positions, `others` in between."""
    rest = iter(others)
    return [refusals[place] if place in refusals else next(rest) for place in range(count)]
