"""Bytes of UpsertProducts before they are parsed, resource names and page tokens, on any input."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1 import product_pb2
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.catalog.names import check_id, page_start, page_token, product_id_in, product_name
from sightline_server.rpc.catalog.upsert_fields import parent_of, parse_upsert

MESSAGE = pb.UpsertProductsRequest(
    parent="catalogs/shop",
    product=pb.CatalogProduct(
        product=product_pb2.Product(id="a", title="t", attributes={"k": "v"}),
        images=[pb.ProductImage(link="x", embedding=pb.Embedding(embedder="e", values=[1.0, 2.0]))],
    ),
).SerializeToString(deterministic=True)


def outcome(read: Callable[[bytes], object], raw: bytes) -> ErrorKind | None:
    """The kind of the error of `read`; None where it raises none."""
    try:
        read(raw)
    except SightlineError as error:
        return error.kind
    return None


def refused(raw: bytes) -> str:
    with pytest.raises(SightlineError) as caught:
        parse_upsert(raw)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    return caught.value.message


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_refused(raw: bytes) -> None:
    assert {outcome(parent_of, raw), outcome(parse_upsert, raw)} <= {None, ErrorKind.INVALID_REQUEST}


@given(st.integers(0, len(MESSAGE) - 1), st.integers(0, 255))
def test_a_message_with_one_other_byte_is_a_message_or_refused(place: int, value: int) -> None:
    raw = MESSAGE[:place] + bytes([value]) + MESSAGE[place + 1 :]
    assert outcome(parse_upsert, raw) in (None, ErrorKind.INVALID_REQUEST)


def test_a_message_is_read_whole() -> None:
    assert parse_upsert(MESSAGE) == pb.UpsertProductsRequest.FromString(MESSAGE)
    assert parent_of(MESSAGE) == "catalogs/shop"


def nested(number: int, content: bytes) -> bytes:
    """A field with a length, as protobuf writes it."""
    size, prefix = len(content), bytearray()
    while size >= 0x80:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *prefix, size]) + content


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (nested(2, b"") * 2, "given twice"),
        (nested(3, b"") * 100_000, "more than 48 fields"),
        (nested(2, nested(2, b"") * 2), "given twice"),
        (nested(2, nested(9, b"") * 100_000), "more than 48 fields"),
        (nested(2, nested(3, b"") * 21), "at most 20 are allowed"),
        (nested(2, nested(3, nested(7, b"") * 9)), "more than 8 fields"),
        (nested(2, nested(2, nested(11, b"") * 30_000)), "more than 100 attributes"),
        (nested(2, nested(2, nested(2, b"") * 30_000)), "more than 148 fields"),
        (nested(2, nested(2, nested(2, b"t" * 70_000))), "65536 are allowed"),
        (nested(3, b"r" * 2000), "more than 1024 bytes"),
        (nested(2, nested(4, b"e" * 3000)), "more than 2048 bytes"),
        (nested(2, b"\x0b"), "is not a sightline.v1.UpsertProductsRequest"),
        (nested(2, nested(2, b"\x0a\xff")), "is not a sightline.v1.UpsertProductsRequest"),
    ],
)
def test_too_much_in_a_message_is_found_before_it_is_parsed(raw: bytes, message: str) -> None:
    assert message in refused(raw)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_an_id_has_one_name_and_the_name_that_id(product_id: str) -> None:
    try:
        check_id("id", product_id)
    except SightlineError:
        return
    name = product_name("shop", product_id)
    assert name.count("/") == 3
    assert name.isascii()
    assert product_id_in("name", name, "shop") == product_id


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.text(max_size=40))
def test_tokens_are_of_one_list(after: str, odd: str) -> None:
    token = page_token("products a", after)
    assert page_start("products a", token) == after
    with pytest.raises(SightlineError):
        page_start("products b", token)
    if odd and odd != token:
        with pytest.raises(SightlineError):
            page_start("products a", odd)
