"""F16: requests to `/metrics` whose headers never end."""

import asyncio
import socket
import time
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import psutil

from load_tests.attacks.frame import Attack, Bound, Target, scaled

REQUESTS = 1000
HALF = b"GET /metrics HTTP/1.1\r\nX-Slow: "
MORE_THREADS = 16
REQUEST_S = 5.0
BEHIND_S = 0.5
"""Bound of a scrape that comes right behind all those connections, each of which the kernel hands over before it."""


async def run(target: Target, share: float) -> list[Bound]:
    """Holds half-sent requests, scrapes meanwhile, and waits until the server has ended them."""
    process = psutil.Process(target.pid)
    await asyncio.to_thread(target.scrape)
    threads, descriptors = process.num_threads(), process.num_fds()
    address = urlsplit(target.metrics_url)
    with ExitStack() as stack:
        for _ in range(scaled(REQUESTS, share)):
            half = stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=10))
            half.sendall(HALF)
        behind = await asyncio.to_thread(scraped, target)
        slowest = max([await asyncio.to_thread(scraped, target) for _ in range(5)])
        more = process.num_threads() - threads
        await asyncio.sleep(REQUEST_S + 1)
        left = process.num_fds() - descriptors
    return [
        Bound("threads more", more, MORE_THREADS),
        Bound("s of a scrape right behind them", behind, BEHIND_S),
        Bound("s of the slowest scrape while they are held", slowest, 0.1),
        Bound("descriptors left", left, 5),
    ]


def scraped(target: Target) -> float:
    """Seconds that one scrape takes; infinity when it fails."""
    begun = time.monotonic()
    with suppress(OSError):
        address = urlsplit(target.metrics_url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as caller:
            caller.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b"".join(iter(lambda: caller.recv(1 << 16), b""))
        return time.monotonic() - begun if answer.startswith(b"HTTP/1.1 200") else float("inf")
    return float("inf")


ATTACK = Attack("scrapes", "F16: half-sent requests for metrics", run)
