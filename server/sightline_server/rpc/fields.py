"""Bytes -> SearchRequest, after a walk over the fields that keeps parsing cheap.

Rule: what a parser makes of bytes may be forty times as large as they are (empty messages, empty strings). So the
number of fields and the bytes in addition to the photo are checked first. The walk is linear in the fields, copies
nothing, and knows the wire format only (https://protobuf.dev/programming-guides/encoding/).
"""

from google.protobuf.message import DecodeError

from sightline.v1 import lens_service_pb2
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import REQUEST_ALLOWANCE, LimitSettings

OTHER_FIELDS = 48
"""Fields that a request may have in addition to `limits.max_regions` regions; the contract has ten."""
PHOTO_FIELD = lens_service_pb2.SearchRequest.PHOTO_FIELD_NUMBER
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MOST_VARINT_BYTES = 10
GZIP, ZLIB = b"\x1f\x8b", (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


def parse(raw: bytes, limits: LimitSettings) -> lens_service_pb2.SearchRequest:
    """The request in `raw`. Raises `SightlineError` of kind INVALID_REQUEST."""
    try:
        check_fields(raw, most_fields=limits.max_regions + OTHER_FIELDS)
        return lens_service_pb2.SearchRequest.FromString(raw)
    except (DecodeError, IndexError) as error:
        raise not_a_request(raw) from error


def check_fields(raw: bytes, *, most_fields: int, most_other_bytes: int = REQUEST_ALLOWANCE) -> None:
    """Checks that `raw` has at most `most_fields` top-level fields and, photos aside, `most_other_bytes` bytes.

    Raises `SightlineError` when it has more, and `DecodeError` or `IndexError` when it is not a message. Groups, which
    the contract does not have and which nest, are not followed.
    """
    place, end, fields, photos = 0, len(raw), 0, 0
    while place < end:
        fields += 1
        if fields > most_fields:
            raise SightlineError(ErrorKind.INVALID_REQUEST, f"the request has more than {most_fields} fields")
        tag, place = varint(raw, place)
        match tag & 7:
            case 2:
                size, place = varint(raw, place)
                place += size
                photos += size if tag >> 3 == PHOTO_FIELD else 0
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
    if end - photos > most_other_bytes:
        raise SightlineError(
            ErrorKind.INVALID_REQUEST, f"the request has more than {most_other_bytes} bytes in addition to the photo"
        )


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


def not_a_request(raw: bytes) -> SightlineError:
    """The error of bytes that are not a SearchRequest; it says so where they seem to be compressed."""
    if raw[:2] == GZIP or raw[:2] in ZLIB:
        return SightlineError(
            ErrorKind.INVALID_REQUEST, "the request is compressed: photos are compressed already, send it uncompressed"
        )
    return SightlineError(ErrorKind.INVALID_REQUEST, "the request is not a sightline.v1.SearchRequest")
