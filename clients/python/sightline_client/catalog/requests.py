"""The requests of CatalogService, made of what callers give; every wrong value is an error that names its field.

Rule: a product that cannot be sent costs only itself: its error becomes its status, and the others are sent.
"""

import uuid
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from sightline.v1 import catalog_service_pb2 as pb
from sightline_client import errors, request, values
from sightline_client.catalog import checks, convert, names
from sightline_client.catalog.products import CatalogProduct
from sightline_client.catalog.waiting import Outgoing
from sightline_client.filter_checks import FieldError

T = TypeVar("T")
Products = Iterable[CatalogProduct] | AsyncIterable[CatalogProduct]


def new_request_id() -> str:
    """A request id that no other request has."""
    return uuid.uuid4().hex


def checked(field: str, check: Callable[[object], T], value: object) -> T:
    """The value as `check` returns it. Raises `InvalidRequestError`."""
    try:
        result: T = checks.named(field, check, value)
    except FieldError as error:
        raise request.invalid(error.field, str(error)) from None
    return result


def catalog_name(catalog: object) -> str:
    """The resource name of a catalog. Raises `InvalidRequestError`."""
    return names.catalog_name(checked("catalog", checks.path_part, catalog))


def page_size(value: object) -> int:
    """The size of a page, 0 for the server's default. Raises `InvalidRequestError`."""
    return checked("page_size", lambda given: values.integer(given, 0, values.INT32_MAX), value)


def creation(catalog: str, embedder: str, validate_only: bool) -> pb.CreateCatalogRequest:
    """The request for a new catalog. Raises `InvalidRequestError`."""
    catalog_name(catalog)
    dry = checked("validate_only", checks.flag, validate_only)
    named = checked("embedder", values.text, embedder)
    return pb.CreateCatalogRequest(catalog_id=catalog, validate_only=dry, embedder=named)


def removal(catalog: str, etag: str, force: bool, validate_only: bool) -> pb.DeleteCatalogRequest:
    """The request to remove a catalog. Raises `InvalidRequestError`."""
    dry = checked("validate_only", checks.flag, validate_only)
    return pb.DeleteCatalogRequest(
        name=catalog_name(catalog),
        etag=checked("etag", values.text, etag),
        force=checked("force", checks.flag, force),
        validate_only=dry,
    )


def activation(catalog: str, revision: int, etag: str, note: str, validate_only: bool) -> pb.ActivateRevisionRequest:
    """The request to make a revision the current one. Raises `InvalidRequestError`."""
    catalog_name(catalog)
    number = checked("revision", lambda value: values.integer(value, 1, 2**63 - 1), revision)
    dry = checked("validate_only", checks.flag, validate_only)
    return pb.ActivateRevisionRequest(
        name=names.revision_name(catalog, number),
        etag=checked("etag", values.text, etag),
        note=checked("note", values.text, note),
        validate_only=dry,
    )


@dataclass(frozen=True, slots=True)
class Upserts:
    """Makes the messages of one upsert into the catalog named `parent`."""

    parent: str
    validate_only: bool
    max_image_bytes: int
    max_request_bytes: int

    def outgoing(self, index: int, product: object) -> Outgoing:
        """The message of one product, or the error for which it is not sent."""
        product_id = product.id if isinstance(product, CatalogProduct) and isinstance(product.id, str) else ""
        try:
            made = convert.product_to_pb(product, self.max_image_bytes)
        except FieldError as error:
            return Outgoing(index, product_id, "", error=request.invalid(error.field, str(error)))
        except errors.InvalidRequestError as error:
            return Outgoing(index, product_id, "", error=error)
        name = names.product_name(names.catalog_of(self.parent), product_id)
        message = pb.UpsertProductsRequest(
            parent=self.parent, product=made, request_id=new_request_id(), validate_only=self.validate_only
        ).SerializeToString()
        if len(message) > self.max_request_bytes:
            return Outgoing(index, product_id, name, error=too_large("images", len(message), self.max_request_bytes))
        return Outgoing(index, product_id, name, message)

    async def all(self, products: object) -> AsyncGenerator[Outgoing, None]:
        """The messages of the caller's products, in order."""
        index = 0
        async with aclosing(each(products)) as values_:
            async for product in values_:
                yield self.outgoing(index, product)
                index += 1


async def each(products: object) -> AsyncGenerator[Any, None]:
    """The values of an iterable or an async iterable; of another object, none."""
    if isinstance(products, AsyncIterable):
        async for product in products:
            yield product
    elif isinstance(products, Iterable):
        for product in products:
            yield product


def require_iterable(field: str, value: object, *, of: str, asynchronous: bool = False) -> None:
    """Raises `InvalidRequestError` for what is not an iterable of products, ids and the like."""
    kinds = (Iterable, AsyncIterable) if asynchronous else (Iterable,)
    if isinstance(value, str | bytes | dict) or not isinstance(value, kinds):
        raise request.invalid(field, f"must be an iterable of {of}, not {values.quoted(value)}")


def too_large(field: str, size: int, limit: int) -> errors.RequestTooLargeError:
    """The error for a product whose message is over the limit."""
    problem = f"make a message of {size} bytes, the limit is {limit} (ClientOptions.max_photo_bytes and 1 MiB)"
    return errors.RequestTooLargeError(f"{field} {problem}", violations=[errors.FieldViolation(field, problem)])
