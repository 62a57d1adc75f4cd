"""Headers of a request that no gRPC library sends: methods, metadata and the fields of HTTP/2 itself."""

import random
from collections.abc import Callable

from load_tests.hostile.call import SEARCH, Field
from tests.support.grants import MARK

SECRET = MARK.encode()
Fields = Callable[[random.Random], list[Field]]


def odd_bytes(source: random.Random, most: int = 60) -> bytes:
    """Bytes that are never a whole text in UTF-8."""
    return SECRET + b"\xff" + bytes(source.randrange(0x80, 0x100) for _ in range(source.randrange(most)))


METHODS: dict[str, Callable[[random.Random], bytes]] = {
    "not UTF-8": lambda source: b"/" + odd_bytes(source),
    "of a service, not UTF-8": lambda source: b"/sightline.v1.LensService/" + odd_bytes(source),
    "a lone surrogate": lambda source: b"/\xed\xa0\x80" + SECRET,
    "unknown": lambda source: b"/sightline.v1.LensService/" + SECRET,
    "another case": lambda source: SEARCH.lower(),
    "a query": lambda source: SEARCH + b"?" + SECRET,
    "empty": lambda source: b"",
    "no slash": lambda source: SECRET,
    "only slashes": lambda source: b"/" * source.randrange(2, 100),
    "with a NUL": lambda source: SEARCH + b"\x00",
    "of 8 kB": lambda source: b"/" + SECRET * 1300,
    "of a catalog": lambda source: b"/sightline.v1.CatalogService/DeleteCatalog",
    "reflection": lambda source: b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "reflection of v1alpha": lambda source: b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "health": lambda source: b"/grpc.health.v1.Health/Check",
}
METADATA: dict[str, Fields] = {
    "64 kB": lambda source: [(b"x-large", SECRET * 11_000)],
    "a thousand fields": lambda source: [(b"x-%d" % number, SECRET) for number in range(1000)],
    "a hundred fields": lambda source: [(b"x-%d" % number, SECRET) for number in range(100)],
    "the same name": lambda source: [(b"x-same", SECRET)] * 50,
    "-bin, not base64": lambda source: [(b"x-other-bin", b"*" + SECRET)],
    "-bin, random": lambda source: [(b"sightline-grant-bin", source.randbytes(60))],
    "-bin, of odd length": lambda source: [(b"x-other-bin", b"A")],
    "trace of OpenCensus": lambda source: [(b"grpc-trace-bin", source.randbytes(29))],
    "tags": lambda source: [(b"grpc-tags-bin", source.randbytes(200))],
    "not UTF-8": lambda source: [(b"x-other", odd_bytes(source))],
    "grant not UTF-8": lambda source: [(b"sightline-grant", odd_bytes(source))],
    "catalog not UTF-8": lambda source: [(b"sightline-catalog", odd_bytes(source))],
    "catalog unknown": lambda source: [(b"sightline-catalog", SECRET)],
    "catalog twice": lambda source: [(b"sightline-catalog", b"default")] * 2,
    "lane unknown": lambda source: [(b"sightline-lane", SECRET)],
    "lane empty": lambda source: [(b"sightline-lane", b"")],
    "user agent not UTF-8": lambda source: [(b"user-agent", odd_bytes(source))],
    "user agent of 4 kB": lambda source: [(b"user-agent", SECRET * 680)],
    "upper case": lambda source: [(b"X-Upper", SECRET)],
    "no name": lambda source: [(b"", SECRET)],
    "name not ASCII": lambda source: [(b"x-\xff", SECRET)],
    "name with a colon": lambda source: [(b"x:y", SECRET)],
    "name with a space": lambda source: [(b"x y", SECRET)],
    "a line end": lambda source: [(b"x-other", SECRET + b"\r\nx-more: 1")],
    "a NUL": lambda source: [(b"x-other", SECRET + b"\x00")],
    "a pseudo header behind": lambda source: [(b":path", b"/" + SECRET)],
    "an unknown pseudo header": lambda source: [(b":odd", SECRET)],
    "a reserved name": lambda source: [(b"grpc-odd", SECRET)],
    "a status": lambda source: [(b"grpc-status", b"0"), (b"grpc-message", SECRET)],
    "an unknown encoding": lambda source: [(b"grpc-encoding", SECRET)],
    "an encoding, not used": lambda source: [(b"grpc-encoding", b"gzip")],
    "odd accepted encodings": lambda source: [(b"grpc-accept-encoding", odd_bytes(source))],
    "odd trace": lambda source: [(b"traceparent", odd_bytes(source)), (b"tracestate", SECRET)],
    "trace of zeros": lambda source: [(b"traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01")],
    "length": lambda source: [(b"content-length", b"99999999999999999999")],
    "connection": lambda source: [(b"connection", b"close"), (b"transfer-encoding", b"chunked")],
    "cookie": lambda source: [(b"cookie", SECRET)],
    "host": lambda source: [(b"host", odd_bytes(source))],
    "forwarded": lambda source: [(b"x-forwarded-for", SECRET * 3)],
    "odd attempts": lambda source: [(b"grpc-previous-rpc-attempts", SECRET)],
}
TIMEOUTS = (b"", b"0n", b"0S", b"1n", b"1m", b"-1S", b"99999999H", b"999999999H", b"1.5S", b"S", b"1", b"\xff", b"1 S")
CHANGED: dict[str, tuple[bytes, tuple[bytes | None, ...]]] = {
    "another HTTP method": (b":method", (b"GET", b"PUT", b"OPTIONS", b"CONNECT", b"", b"\xff", None)),
    "another scheme": (b":scheme", (b"ftp", b"", b"\xff", None)),
    "another authority": (b":authority", (b"", b"\xff" + SECRET, b"a" * 5000, b"user:pw@h", b"[::1", b"%00", None)),
    "no method": (b":path", (None,)),
    "another content type": (
        b"content-type",
        (b"", b"text/html", b"application/grpc+" + SECRET, b"application/grpc-web", b"\xff", None),
    ),
    "another te": (b"te", (b"", b"gzip", b"\xff", None)),
}
"""Header of HTTP/2 or gRPC -> its values; None for none."""
