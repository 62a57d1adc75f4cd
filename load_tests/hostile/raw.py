"""Bytes that break HTTP/2 itself; each is sent on its own connection, right behind the preface or in place of it."""

import random
import struct
from collections.abc import Callable

from load_tests.attacks.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from load_tests.hostile.call import CONTINUATION, call, prefixed
from tests.support.grants import MARK

BEGIN = PREFACE + frame(SETTINGS, 0, 0)
SECRET = MARK.encode()
CALL = call("")
PRIORITY, PUSH_PROMISE, UNKNOWN = 2, 5, 200


def cut(source: random.Random) -> bytes:
    """A good call that ends anywhere."""
    whole = BEGIN + CALL.frames(1)
    return whole[: source.randrange(1, len(whole))]


def mutated(source: random.Random) -> bytes:
    """Good calls in which a few bytes are changed."""
    made = bytearray(b"".join(CALL.frames(stream) for stream in (1, 3, 5)))
    for _ in range(source.randint(1, 5)):
        made[source.randrange(len(made))] = source.randrange(256)
    return BEGIN + bytes(made)


RAW: dict[str, Callable[[random.Random], bytes]] = {
    "HTTP/1.1": lambda source: b"POST /" + SECRET + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "TLS": lambda source: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + source.randbytes(500),
    "random": lambda source: source.randbytes(source.randrange(1, 2000)),
    "nothing": lambda source: b"",
    "half a preface": lambda source: PREFACE[: source.randrange(1, len(PREFACE))],
    "random behind the preface": lambda source: PREFACE + source.randbytes(source.randrange(1, 2000)),
    "cut": cut,
    "mutated": mutated,
    "a frame of 16 MB": lambda source: BEGIN + b"\xff\xff\xff" + struct.pack(">BBI", DATA, 0, 1) + SECRET,
    "an unknown frame": lambda source: BEGIN + frame(UNKNOWN, 255, 9, SECRET) + CALL.frames(1),
    "data without a call": lambda source: BEGIN + frame(DATA, 0, 1, SECRET),
    "data on stream 0": lambda source: BEGIN + frame(DATA, 0, 0, SECRET),
    "data behind the end": lambda source: BEGIN + CALL.frames(1) + frame(DATA, END_STREAM, 1, SECRET),
    "headers twice": lambda source: BEGIN + CALL.frames(1) + CALL.frames(1),
    "an even stream": lambda source: BEGIN + CALL.frames(2),
    "streams backwards": lambda source: BEGIN + CALL.frames(9) + CALL.frames(3),
    "the last stream": lambda source: BEGIN + CALL.frames(0x7FFF_FFFF) + CALL.frames(1),
    "headers that are not HPACK": lambda source: BEGIN + frame(HEADERS, END_HEADERS, 1, source.randbytes(100)),
    "an index out of the table": lambda source: BEGIN + frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\x0f"),
    "a table of 4 GB": lambda source: BEGIN + frame(HEADERS, END_HEADERS, 1, b"\x3f\xe1\xff\xff\xff\x0f"),
    "no headers": lambda source: BEGIN + frame(HEADERS, END_HEADERS | END_STREAM, 1),
    "headers that do not end": lambda source: (
        BEGIN + frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 0, 1, b"\x00\x01x\x01y") * 500
    ),
    "a continuation alone": lambda source: BEGIN + frame(CONTINUATION, END_HEADERS, 1, SECRET),
    "padding beyond the frame": lambda source: BEGIN + frame(HEADERS, 8 | END_HEADERS, 1, b"\xff" + SECRET),
    "a call that depends on itself": lambda source: BEGIN + frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 1)),
    "a promise": lambda source: BEGIN + frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + SECRET),
    "settings of odd length": lambda source: BEGIN + frame(SETTINGS, 0, 0, b"\x00" * 5),
    "settings of a stream": lambda source: BEGIN + frame(SETTINGS, 0, 1),
    "a window of 4 GB": lambda source: (
        BEGIN + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0xFFFF_FFFF))
    ),
    "windows of nothing": lambda source: (
        BEGIN + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 0)) + CALL.frames(1)
    ),
    "a window that overflows": lambda source: BEGIN + frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 3,
    "a window update of nothing": lambda source: BEGIN + frame(WINDOW_UPDATE, 0, 0, b"\x00" * 4),
    "a thousand settings": lambda source: BEGIN + frame(SETTINGS, 0, 0) * 1000,
    "a thousand pings": lambda source: BEGIN + frame(PING, 0, 0, b"s3cr3t--") * 1000,
    "a ping of odd length": lambda source: BEGIN + frame(PING, 0, 0, b"x"),
    "answers to nothing": lambda source: BEGIN + frame(PING, ACK, 0, b"s3cr3t--") + frame(SETTINGS, ACK, 0) * 10,
    "a reset of a call that is not there": lambda source: BEGIN + frame(RST_STREAM, 0, 7, b"\x00" * 4),
    "good bye": lambda source: BEGIN + CALL.frames(1) + frame(GOAWAY, 0, 0, struct.pack(">II", 0, 2) + SECRET),
    "a message in tiny frames": lambda source: (
        BEGIN
        + CALL.frames(1)[:-14]
        + b"".join(frame(DATA, 0, 1, bytes([each])) for each in prefixed(SECRET * 20))
        + frame(DATA, END_STREAM, 1)
    ),
}
"""Everything that is sent on a connection by kind."""
