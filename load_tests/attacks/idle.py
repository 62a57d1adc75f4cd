"""F4: calls that are opened and say nothing, of every kind, all on one connection."""

import asyncio
from contextlib import suppress

from load_tests.attacks.frame import Attack, Bound, Target, at_rest, probe, quiet_search, scaled, search, timed
from load_tests.attacks.http2 import SEARCH, Connection

STREAMS = 512
AT_ONCE = 256
"""Streams that a connection may have; what a caller opens beyond them is reset at once."""
WATCH, CHECK = "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check"
KINDS: dict[str, tuple[str, bytes]] = {
    "searches": (SEARCH, b""),
    "searches that began": (SEARCH, b"\x00\x00\x10\x00\x00half"),
    "watches without a request": (WATCH, b""),
    "watches": (WATCH, b"\x00\x00\x00\x00\x00"),
    "checks without a request": (CHECK, b""),
    "reflections": ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", b""),
    "reflections of v1alpha": ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", b""),
}


async def run(target: Target, share: float) -> list[Bound]:
    """Holds the calls of each kind and lets an honest caller on another connection search and probe.

    What a search takes beyond a quiet one counts: how fast the models are is another question.
    """
    bounds, quiet = [], await quiet_search(target)
    for kind, (path, sent) in KINDS.items():
        with Connection(target.address) as connection:
            await asyncio.to_thread(hold, connection, path, sent, scaled(STREAMS, share))
            probed = await timed(target, probe)
            searched = await timed(target, lambda channel: search(channel, target.photo))
        bounds.append(Bound(f"s with idle {kind}", max(probed, searched - quiet), 1.0))
    bounds.append(Bound("calls still open", 0 if await at_rest(target) else 1, 0))
    return bounds


def hold(connection: Connection, path: str, sent: bytes, streams: int) -> None:
    """Opens `streams` calls and sends `sent` on each; a server that ends the connection has ended the attack."""
    with suppress(OSError):
        for _ in range(streams):
            stream = connection.open(path)
            if sent:
                connection.send(stream, memoryview(sent))
        connection.listen(0.5)


ATTACK = Attack("idle", "F4: calls that say nothing", run)
