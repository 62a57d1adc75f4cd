"""One hostile call as the bytes of its HTTP/2 frames.

Rule: a call is made of bytes only, so that it may have what no gRPC library would send. Headers are literals without
Huffman coding (RFC 7541, 6.2.2).
"""

import struct
from dataclasses import dataclass, replace
from typing import TypeAlias

from load_tests.attacks.http2 import CANCEL, DATA, END_HEADERS, END_STREAM, FRAME_BYTES, HEADERS, RST_STREAM, frame
from load_tests.attacks.http2 import SEARCH as SEARCH_METHOD

CONTINUATION = 9
SEARCH = SEARCH_METHOD.encode()
Field: TypeAlias = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class HostileCall:
    """A call: the fields of its headers in order, and the bytes of its DATA frames.

    With `ended` the caller says that nothing more comes; with `reset` it cancels at once.
    """

    kind: str
    fields: tuple[Field, ...]
    data: bytes
    ended: bool = True
    reset: bool = False

    @property
    def answered(self) -> bool:
        """True if the server must end the call."""
        return self.ended and not self.reset

    def with_fields(self, kind: str, *fields: Field) -> "HostileCall":
        """The call with `fields` behind the others."""
        return replace(self, kind=kind, fields=(*self.fields, *fields))

    def changed(self, kind: str, name: bytes, value: bytes | None) -> "HostileCall":
        """The call with another value of the header `name`, without it for None."""
        kept = [(key, old if key != name else value) for key, old in self.fields]
        return replace(self, kind=kind, fields=tuple((key, each) for key, each in kept if each is not None))

    def frames(self, stream: int) -> bytes:
        """All its frames on `stream`."""
        block = b"".join(encoded(*each) for each in self.fields)
        parts = [block[place : place + FRAME_BYTES] for place in range(0, len(block), FRAME_BYTES)] or [b""]
        last = len(parts) - 1
        made = [
            frame(CONTINUATION if place else HEADERS, END_HEADERS if place == last else 0, stream, part)
            for place, part in enumerate(parts)
        ]
        pieces = [self.data[place : place + FRAME_BYTES] for place in range(0, len(self.data), FRAME_BYTES)] or [b""]
        made += [
            frame(DATA, END_STREAM if self.ended and place == len(pieces) - 1 else 0, stream, piece)
            for place, piece in enumerate(pieces)
        ]
        if self.reset:
            made.append(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))
        return b"".join(made)


def call(kind: str, *fields: Field, message: bytes = b"", path: bytes = SEARCH) -> HostileCall:
    """A call in the form of gRPC with `fields` as its metadata."""
    own = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"attack"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
    return HostileCall(kind, (*own, *fields), prefixed(message))


def prefixed(message: bytes, *, flag: int = 0, size: int | None = None) -> bytes:
    """A message with the prefix of gRPC: the flag of compression, and its size, or another one."""
    return struct.pack(">BI", flag, len(message) if size is None else size) + message


def encoded(name: bytes, value: bytes) -> bytes:
    """One header that enters no table."""
    return b"".join((b"\x00", integer(len(name)), name, integer(len(value)), value))


def integer(number: int) -> bytes:
    """A length with a prefix of seven bits (RFC 7541, 5.1)."""
    if number < 127:
        return bytes([number])
    made, rest = bytearray([127]), number - 127
    while rest >= 128:
        made.append(rest % 128 + 128)
        rest //= 128
    return bytes([*made, rest])
