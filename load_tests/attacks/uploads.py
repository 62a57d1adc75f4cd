"""F5: uploads of the largest photo that stop one byte before their end, from many connections."""

import asyncio
import struct
import time
from contextlib import ExitStack, suppress

from load_tests.attacks.frame import (
    Attack,
    Bound,
    Target,
    at_rest,
    probe,
    quiet_search,
    scaled,
    search,
    timed,
    watched_memory,
)
from load_tests.attacks.http2 import Connection

UPLOADS = 512
CONNECTIONS = 32
PHOTO_BYTES = 20 * 1000 * 1000
BUDGET = 512 * 1024 * 1024
DEADLINE_S = 10.0
"""The deadline that the server gives to calls without one, such as these."""
HOLD_S = 3.0
REST_S = 3.0
"""Seconds that the server may take to release memory."""
SLACK_MB = 200
"""Memory beyond the budget: one message while it is copied, and what HTTP/2 takes of uploads that wait."""


async def run(target: Target, share: float) -> list[Bound]:
    """Uploads all but the last byte of each, measures what other callers get meanwhile, and waits for the end."""
    uploads, connections = scaled(UPLOADS, share), scaled(CONNECTIONS, share)
    most_bytes, quiet = 0.0, await quiet_search(target)
    with watched_memory(target) as memory, ExitStack() as stack:
        held = [stack.enter_context(Connection(target.address)) for _ in range(connections)]
        begun = time.monotonic()
        sending = asyncio.create_task(asyncio.to_thread(upload, held, uploads // connections or 1))
        searches: list[float] = []
        probes: list[float] = []
        while not sending.done() or time.monotonic() - begun < HOLD_S:
            await asyncio.sleep(0.5)
            searches.append(await timed(target, lambda channel: search(channel, target.photo)))
            probes.append(await timed(target, probe))
            now = await asyncio.to_thread(target.scrape)
            most_bytes = max(most_bytes, now.sum("sightline_request_bytes"))
        await sending
        ended = await at_rest(target, DEADLINE_S + 10)
        took = time.monotonic() - begun
    await asyncio.sleep(REST_S)
    return [
        Bound("bytes held", most_bytes, BUDGET),
        Bound("MB of memory at the peak", memory.grown, BUDGET / 1e6 + SLACK_MB),
        Bound("MB of memory afterwards", target.resident_mb - memory.before, SLACK_MB),
        Bound("s until all had ended", took if ended else float("inf"), DEADLINE_S + 25),
        Bound("s of others' slowest search beyond a quiet one", max(searches) - quiet, 1.0),
        Bound("s of others' slowest probe", max(probes), 1.0),
    ]


def upload(connections: list[Connection], each: int) -> None:
    """Sends on `each` streams of every connection for as long as the server takes something."""
    body = memoryview(struct.pack(">BI", 0, PHOTO_BYTES) + bytes(PHOTO_BYTES - 1))
    sent: dict[tuple[Connection, int], int] = {}
    with suppress(OSError):
        for connection in connections:
            for _ in range(each):
                sent[connection, connection.open()] = 0
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until and any(place < len(body) for place in sent.values()):
        moved = 0
        for connection in connections:
            with suppress(OSError):
                connection.listen()
                moved += sum(send_on(connection, body, sent))
        if not moved:
            time.sleep(0.01)


def send_on(connection: Connection, body: memoryview, sent: dict[tuple[Connection, int], int]) -> list[int]:
    """Sends what the windows of one connection allow; returns the bytes of each stream."""
    moved = []
    for (owner, stream), place in sent.items():
        if owner is connection and place < len(body) and stream not in connection.ended:
            moved.append(connection.send(stream, body[place:]))
            sent[owner, stream] = place + moved[-1]
    return moved


ATTACK = Attack(
    "uploads",
    "F5: uploads that never end",
    run,
    {"SIGHTLINE_LIMITS__REQUEST_BUDGET_BYTES": str(BUDGET)},
)
