"""Bytes -> a request, after a walk over the fields that keeps parsing cheap.

Rule: what a parser makes of bytes may be forty times as large as they are (empty messages, empty strings). So the
number of fields is checked first, and the bytes in addition to the fields that may be large, such as a photo. The
walk is linear in the fields, copies nothing, and knows the wire format only
(https://protobuf.dev/programming-guides/encoding/).
"""

from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import REQUEST_ALLOWANCE

USUAL_FIELDS = 48
"""Top-level fields that a request may have, unless its method allows more."""
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MOST_VARINT_BYTES = 10
GZIP, ZLIB = b"\x1f\x8b", (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


RequestT = TypeVar("RequestT", bound=Message)


@dataclass(frozen=True, slots=True)
class FieldBounds:
    """At most `most_fields` top-level fields and, fields with a number in `large_fields` aside, `most_bytes` bytes."""

    most_fields: int = USUAL_FIELDS
    large_fields: tuple[int, ...] = ()
    most_bytes: int = REQUEST_ALLOWANCE


USUAL = FieldBounds()
"""The bounds of requests without a large field."""


def parse(raw: bytes, kind: type[RequestT], bounds: FieldBounds) -> RequestT:
    """The message of type `kind` in `raw`. Raises `SightlineError` of kind INVALID_REQUEST."""
    try:
        check_fields(raw, kind, bounds)
        return kind.FromString(raw)
    except (DecodeError, IndexError) as error:
        raise not_a_request(raw, kind) from error


def check_fields(raw: bytes, kind: type[Message], bounds: FieldBounds) -> None:
    """Checks that `raw` keeps to `bounds`.

    Raises `SightlineError` when it does not, and `DecodeError` or `IndexError` when it is not a message. Groups, which
    the contract does not have and which nest, are not followed.
    """
    place, end, fields, large = 0, len(raw), 0, 0
    while place < end:
        fields += 1
        if fields > bounds.most_fields:
            raise SightlineError(ErrorKind.INVALID_REQUEST, f"the request has more than {bounds.most_fields} fields")
        tag, place = varint(raw, place)
        match tag & 7:
            case 2:
                size, place = varint(raw, place)
                place += size
                large += size if tag >> 3 in bounds.large_fields else 0
            case 0:
                _, place = varint(raw, place)
            case 1:
                place += 8
            case 5:
                place += 4
            case _:
                raise DecodeError("a group or an unknown wire type")
    if place > end:
        raise DecodeError("a field goes beyond the end")
    if end - large > bounds.most_bytes:
        raise too_many_bytes(kind, bounds)


def too_many_bytes(kind: type[Message], bounds: FieldBounds) -> SightlineError:
    """The error of a request of too many bytes; it names the fields that do not count."""
    addition = ""
    if bounds.large_fields:
        names = (kind.DESCRIPTOR.fields_by_number[number].name for number in bounds.large_fields)
        addition = f" in addition to the {' or the '.join(names)}"
    return SightlineError(ErrorKind.INVALID_REQUEST, f"the request has more than {bounds.most_bytes} bytes{addition}")


def varint(raw: bytes, place: int) -> tuple[int, int]:
    """The varint at `place`, and the position after it. Raises `DecodeError` or `IndexError`."""
    byte = raw[place]
    if byte < 0x80:
        return byte, place + 1
    value = byte & 0x7F
    for number in range(1, MOST_VARINT_BYTES):
        byte = raw[place + number]
        value |= (byte & 0x7F) << 7 * number
        if byte < 0x80:
            return value, place + number + 1
    raise DecodeError("a number that is too long")


def not_a_request(raw: bytes, kind: type[Message]) -> SightlineError:
    """The error of bytes that are not a message of type `kind`; it says so where they seem to be compressed."""
    if raw[:2] == GZIP or raw[:2] in ZLIB:
        return SightlineError(
            ErrorKind.INVALID_REQUEST, "the request is compressed: photos are compressed already, send it uncompressed"
        )
    return SightlineError(ErrorKind.INVALID_REQUEST, f"the request is not a {kind.DESCRIPTOR.full_name}")
