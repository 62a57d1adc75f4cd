"""A walk over the bytes of one UpsertProductsRequest, before they are parsed.

Rule: linear in the fields that are allowed, and it copies nothing. What is too much is found here, as an error of this
product; the parser never sees a million attributes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from sightline.v1 import catalog_service_pb2, product_pb2
from sightline_server.errors import SightlineError
from sightline_server.rpc.catalog.products import MAX_ATTRIBUTES, MAX_PRODUCT_BYTES
from sightline_server.rpc.fields import not_a_request, varint
from sightline_server.rpc.refusals import invalid

UpsertRequest = catalog_service_pb2.UpsertProductsRequest
CatalogProduct = catalog_service_pb2.CatalogProduct

MAX_FIELDS = 48
MAX_IMAGES = 20
MAX_PARENT_BYTES = 256


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message: its number, and where its content begins and ends."""

    number: int
    start: int
    end: int


def fields(raw: bytes, start: int, end: int) -> Iterator[Field]:
    """The fields of the message in `raw[start:end]`. Raises `DecodeError` or `IndexError`."""
    place = start
    while place < end:
        tag, place = varint(raw, place)
        begin = place
        match tag & 7:
            case 0:
                _, place = varint(raw, place)
            case 1:
                place += 8
            case 2:
                size, begin = varint(raw, place)
                place = begin + size
            case 5:
                place += 4
            case _:
                raise DecodeError("a group or an unknown wire type")
        if place > end:
            raise DecodeError("a field goes beyond the end")
        yield Field(tag >> 3, begin, place)


def parent_of(raw: bytes) -> str:
    """The parent that a message names; empty where it names none.

    Raises `SightlineError` of kind INVALID_REQUEST for bytes that are not such a message.
    """
    try:
        parent = ""
        for count, each in enumerate(fields(raw, 0, len(raw))):
            if count >= MAX_FIELDS:
                break
            if each.number == UpsertRequest.PARENT_FIELD_NUMBER:
                parent = raw[each.start : min(each.end, each.start + MAX_PARENT_BYTES)].decode()
        return parent
    except (DecodeError, IndexError, UnicodeDecodeError) as error:
        raise not_a_request(raw, UpsertRequest) from error


def parse_upsert(raw: bytes) -> UpsertRequest:
    """The message in `raw`. Raises `SightlineError` of kind INVALID_REQUEST that says what is too much."""
    try:
        check_request(raw)
        return UpsertRequest.FromString(raw)
    except (DecodeError, IndexError) as error:
        raise not_a_request(raw, UpsertRequest) from error


def check_request(raw: bytes) -> None:
    """Checks the fields of the message and of what it holds. Raises as `parse_upsert` and `fields`."""
    seen = 0
    for count, each in enumerate(fields(raw, 0, len(raw)), 1):
        if count > MAX_FIELDS:
            raise too_many("the message", MAX_FIELDS)
        if each.number == UpsertRequest.PRODUCT_FIELD_NUMBER:
            seen += 1
            check_catalog_product(raw, each)
        elif each.end - each.start > 1024:
            raise invalid("the message", "a field other than the product has more than 1024 bytes")
    if seen > 1:
        raise invalid("product", "it is given twice in one message")


def check_catalog_product(raw: bytes, outer: Field) -> None:
    """Checks the fields of a CatalogProduct."""
    images = products = 0
    for count, each in enumerate(fields(raw, outer.start, outer.end), 1):
        if count > MAX_FIELDS:
            raise too_many("product", MAX_FIELDS)
        if each.number == CatalogProduct.IMAGES_FIELD_NUMBER:
            images += 1
            check_image(raw, each)
        elif each.number == CatalogProduct.PRODUCT_FIELD_NUMBER:
            products += 1
            check_product(raw, each)
        elif each.end - each.start > 2048:
            raise invalid("product", "its name, its etag or an unknown field has more than 2048 bytes")
    if images > MAX_IMAGES:
        raise invalid("product.images", f"{images} images, at most {MAX_IMAGES} are allowed")
    if products > 1:
        raise invalid("product.product", "it is given twice in one message")


def check_product(raw: bytes, outer: Field) -> None:
    """Checks the fields of a Product."""
    size = outer.end - outer.start
    if size > MAX_PRODUCT_BYTES:
        raise invalid("product.product", f"{size} bytes of text, at most {MAX_PRODUCT_BYTES} are allowed")
    attributes = product_pb2.Product.ATTRIBUTES_FIELD_NUMBER
    found = 0
    for count, each in enumerate(fields(raw, outer.start, outer.end), 1):
        found += each.number == attributes
        if found > MAX_ATTRIBUTES:
            raise invalid("product.product.attributes", f"more than {MAX_ATTRIBUTES} attributes")
        if count > MAX_ATTRIBUTES + MAX_FIELDS:
            raise too_many("product.product", MAX_ATTRIBUTES + MAX_FIELDS)


def check_image(raw: bytes, outer: Field) -> None:
    """Checks that an image has a few fields. Bytes and numbers in them are as large in memory as they are here."""
    for count, _ in enumerate(fields(raw, outer.start, outer.end), 1):
        if count > 8:
            raise too_many("product.images", 8)


def too_many(field: str, most: int) -> SightlineError:
    """The error of a message with too many fields."""
    return invalid(field, f"more than {most} fields")
