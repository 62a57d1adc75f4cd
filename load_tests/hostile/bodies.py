"""Bodies that are not a request, or not one that can be answered, from a caller who may search."""

import gzip
import random
from collections.abc import Callable

from load_tests.hostile.call import prefixed
from load_tests.hostile.materials import NO_IMAGE
from sightline.v1 import lens_service_pb2
from tests.support.grants import MARK

Body = Callable[[random.Random], bytes]
LARGEST_RANDOM = 3000


def request(**fields: object) -> bytes:
    """A serialised search for a photo that is not an image."""
    return lens_service_pb2.SearchRequest(**{"photo": NO_IMAGE, **fields}).SerializeToString()  # type: ignore[arg-type]


def field_of_bytes(number: int, content: bytes) -> bytes:
    """A field of the wire type for bytes, texts and messages; shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


def mutated(source: random.Random) -> bytes:
    """A request with a few bytes changed, removed or added."""
    made = bytearray(request(catalog="default", grant=MARK * 5, max_objects=3))
    for _ in range(source.randint(1, 6)):
        place = source.randrange(len(made))
        match source.randrange(3):
            case 0:
                made[place] = source.randrange(256)
            case 1:
                del made[place]
            case _:
                made.insert(place, source.randrange(256))
    return bytes(made)


WHOLE: dict[str, Body] = {
    "nothing in it": lambda source: b"",
    "random": lambda source: source.randbytes(source.randrange(1, LARGEST_RANDOM)),
    "mutated": mutated,
    "a length of 2 GB": lambda source: b"\x0a\xff\xff\xff\xff\x07" + MARK.encode(),
    "a varint that does not end": lambda source: b"\x28" + b"\xff" * 30,
    "a text that is not UTF-8": lambda source: field_of_bytes(4, b"\xff\xfe" + MARK.encode()),
    "a grant that is not UTF-8": lambda source: field_of_bytes(9, b"\xc0\xaf" + MARK.encode()),
    "groups": lambda source: b"\xfb\x07" * source.randrange(1, 500),
    "a filter that nests": lambda source: b"\x1a\x7e" * 60,
    "a thousand regions": lambda source: b"\x12\x00" * 1000,
    "no photo": lambda source: lens_service_pb2.SearchRequest(catalog="default").SerializeToString(),
    "an unknown catalog": lambda source: request(catalog=MARK),
    "a catalog with odd letters": lambda source: request(catalog="../\x00\u202e" + MARK),
    "numbers out of range": lambda source: request(max_objects=-5, max_products=2**31 - 1, min_similarity=float("nan")),
    "an unknown lane": lambda source: request() + b"\x40\xff\x01",
    "unknown fields": lambda source: request() + field_of_bytes(15, MARK.encode()),
    "cut": lambda source: request(catalog="default")[: -source.randrange(1, 40)],
}
"""Message by kind; each has the right prefix."""
FRAMED: dict[str, Body] = {
    "no message": lambda source: b"",
    "half a prefix": lambda source: b"\x00\x00\x00",
    "a prefix without a message": lambda source: prefixed(b"", size=500),
    "a prefix of 4 GB": lambda source: prefixed(NO_IMAGE, size=0xFFFF_FFFF),
    "a prefix beyond the limit": lambda source: prefixed(NO_IMAGE, size=64 << 20),
    "a prefix that is too small": lambda source: prefixed(request(), size=7),
    "two messages": lambda source: prefixed(request()) * 2,
    "a hundred empty messages": lambda source: prefixed(b"") * 100,
    "compressed, without an encoding": lambda source: prefixed(gzip.compress(request()), flag=1),
    "flag of compression, not compressed": lambda source: prefixed(request(), flag=1),
    "an unknown flag": lambda source: prefixed(request(), flag=source.randrange(2, 256)),
    "random": lambda source: source.randbytes(source.randrange(1, LARGEST_RANDOM)),
}
"""Bytes of the DATA frames by kind."""
