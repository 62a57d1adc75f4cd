"""Updates and deletions of products, in groups that one request takes.

Rule: a product that cannot be sent costs only itself: its error becomes its status, and the others are sent.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from sightline.v1 import catalog_service_pb2 as pb
from sightline_client import errors, request, status
from sightline_client.catalog import checks, convert
from sightline_client.catalog.products import ProductDeletion, ProductStatus, ProductUpdate
from sightline_client.catalog.requests import catalog_name, checked, new_request_id
from sightline_client.filter_checks import FieldError

MAX_GROUP = 1000
"""The most updates or deletions that one request takes."""
MAX_GROUP_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One update or deletion: its `message`, or the `error` for which it is not sent."""

    index: int
    id: str
    message: Message | None = None
    error: errors.SightlineError | None = None


def updates(
    catalog: str, changes: Iterable[object], validate_only: bool
) -> Iterator[tuple[pb.UpdateProductsRequest, list[Part]]]:
    """The requests for updates of products, each with its parts. Raises `InvalidRequestError`."""
    parent = catalog_name(catalog)
    dry = checked("validate_only", checks.flag, validate_only)
    for group in groups(parts(changes, lambda each: convert.update_to_pb(catalog, each))):
        message = pb.UpdateProductsRequest(
            parent=parent,
            updates=[part.message for part in group if isinstance(part.message, pb.ProductUpdate)],
            request_id=new_request_id(),
            validate_only=dry,
        )
        yield message, group


def deletions(
    catalog: str, products: Iterable[object], allow_missing: bool, validate_only: bool
) -> Iterator[tuple[pb.DeleteProductsRequest, list[Part]]]:
    """The requests for deletions of products, each with its parts. Raises `InvalidRequestError`."""
    parent = catalog_name(catalog)
    missing = checked("allow_missing", checks.flag, allow_missing)
    dry = checked("validate_only", checks.flag, validate_only)
    for group in groups(parts(products, lambda each: convert.deletion_to_pb(catalog, each))):
        message = pb.DeleteProductsRequest(
            parent=parent,
            deletions=[part.message for part in group if isinstance(part.message, pb.ProductDeletion)],
            request_id=new_request_id(),
            validate_only=dry,
            allow_missing=missing,
        )
        yield message, group


def parts(values_: Iterable[object], to_pb: Callable[[object], Message]) -> Iterator[Part]:
    """The parts of a write, in order."""
    for index, value in enumerate(values_):
        product_id = id_of(value)
        try:
            yield Part(index, product_id, to_pb(value))
        except FieldError as error:
            yield Part(index, product_id, error=request.invalid(error.field, str(error)))


def id_of(value: object) -> str:
    """The id that a caller gives for a product, empty if there is none."""
    found = value.id if isinstance(value, ProductUpdate | ProductDeletion) else value
    return found if isinstance(found, str) else ""


def groups(parts_: Iterable[Part]) -> Iterator[list[Part]]:
    """Parts in groups that one request takes."""
    group: list[Part] = []
    size = 0
    for part in parts_:
        room = 0 if part.message is None else part.message.ByteSize()
        if group and (len(group) >= MAX_GROUP or size + room > MAX_GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(part)
        size += room
    if group:
        yield group


def sends(group: list[Part]) -> bool:
    """Returns whether any part of a group can be sent; the request of one without any is not sent."""
    return any(part.error is None for part in group)


def outcomes(method: str, group: list[Part], statuses: Sequence[pb.ProductStatus]) -> list[ProductStatus]:
    """The outcome of each part of a group, of which `statuses` are those that were sent.

    Raises `SightlineError` where the answer to `method` has not one status for each of these.
    """
    if len(statuses) != sum(part.error is None for part in group):
        raise status.unreadable_answer((), f"{method} answer with one status for each product")
    answered = iter(statuses)
    return [
        ProductStatus(part.index, part.id, part.error)
        if part.error is not None
        else convert.status_from_pb(next(answered), part.index, part.id)
        for part in group
    ]
