"""Measures the most memory that a server and its engine take: every slot taken, the largest photos, uploads too.

    python -m load_tests.memory [--catalog DIR] [--threads 4]

First ordinary searches raise the adaptive limit to its ceiling. Then the engine is paused while the photos arrive, so
that all of them wait with their frames, and uploads that never end press for what is left of the byte budget. Then the
engine goes on until every call has ended. The last line is one JSON object; docs/design/architecture.md states the
result, which the limits in deploy/ follow.

Rule: memory is the proportional set size of all processes: a page that several map counts once, as a cgroup counts it.
The settings are the defaults but for those that keep the adaptive limit and the engine's watch out of the way.
Everything is on 127.0.0.1.
"""

import argparse
import asyncio
import io
import json
import re
import signal
import struct
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from PIL import Image

from load_tests.attacks.__main__ import PHOTO, demo_catalog
from load_tests.attacks.http2 import SEARCH, Connection
from load_tests.observe.processes import below
from load_tests.observe.scrapes import scrape
from sightline.v1 import lens_service_pb2
from sightline_client.local_server import LocalServer

GIB = 1 << 30
PHOTO_BYTES = 20 * 1000 * 1000
PLACES = 64
DEMANDING = 6
AT_ONCE = 8
"""Photos on their way at once: more would take longer to arrive on a busy machine than the server allows."""
CONNECTIONS, UPLOADS_EACH = 32, 8
CALL_S = 150
PHOTOS_S, UPLOADS_S = 42, 14
"""Seconds that each may take to arrive: together less than the minute after which calls to the paused engine fail."""
RAISE_S = 90
SETTLED_S = 5.0
SETTLED_BYTES = 50_000_000
SAMPLE_S = 0.1
SETTINGS = {
    "SIGHTLINE_LIMITS__TARGET_FIRST_RESULT_S": "200",
    "SIGHTLINE_LIMITS__MAX_DEADLINE_S": str(CALL_S),
    "SIGHTLINE_ENGINE__PROBE_TIMEOUT_S": str(CALL_S),
}


def main() -> int:
    """Measures once and prints what each process took when all of them together took most."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, help="what the server serves [default: the demo's]")
    parser.add_argument(
        "--threads", type=int, default=4, help="threads that decode, the most that a server takes unasked"
    )
    arguments = parser.parse_args()
    settings = {**SETTINGS, "SIGHTLINE_DECODE__THREADS": str(arguments.threads)}
    with tempfile.TemporaryDirectory(prefix="sightline-memory-") as folder:
        log = Path(folder) / "server.log"
        with LocalServer(catalog=arguments.catalog or demo_catalog(), env=settings, log=log) as server:
            found = asyncio.run(measured(server))
    print(json.dumps(found))
    return 0


async def measured(server: LocalServer) -> dict[str, Any]:
    """Fills the server, lets it go on, and says what was taken at the peak."""
    requests = photos()
    with sampled(server.pid) as most:
        say("raising the limit")
        limit = await raised_limit(server)
        idle, over = taken(server.pid), threading.Event()
        try:
            with paused(server.pid):
                say("sending photos")
                calls = asyncio.create_task(search_all(server.target, requests))
                inside = await until_settled(server, most, PHOTOS_S, PLACES)
                say("sending uploads")
                uploading = asyncio.create_task(asyncio.to_thread(keep_uploading, server.target, over))
                await until_settled(server, most, UPLOADS_S, 0)
            say(f"going on, {gib(most.now)} GiB taken, {gib(most.request_bytes)} of requests")
            codes = await calls
        finally:
            over.set()
        await uploading
        await asyncio.sleep(SETTLED_S)
        after = taken(server.pid)
    return {
        "idle_gib": gib(sum(idle.values())),
        "peak_gib": gib(most.total),
        "peak_gib_by_process": {role: gib(size) for role, size in most.by_role.items()},
        "afterwards_gib": gib(sum(after.values())),
        "limit": limit,
        "most_inside": inside,
        "most_request_gib": gib(most.request_bytes),
        "codes": codes,
    }


def say(text: str) -> None:
    """Prints the current step to stderr."""
    print(text, file=sys.stderr, flush=True)


async def raised_limit(server: LocalServer) -> int:
    """Searches with the sample photo until the adaptive limit is at its ceiling, for `RAISE_S` at most; the limit."""
    until, photo = time.monotonic() + RAISE_S, lens_service_pb2.SearchRequest(photo=PHOTO.read_bytes())
    request = photo.SerializeToString()
    while (limit := await limit_of(server)) < PLACES and time.monotonic() < until:
        await search_all(server.target, [request])
    return limit


async def limit_of(server: LocalServer) -> int:
    """The adaptive limit now."""
    return int((await asyncio.to_thread(scrape, server.metrics_url)).sum("sightline_concurrency_limit"))


def gib(size: float) -> float:
    """Bytes in GiB, rounded."""
    return round(size / GIB, 2)


def photos() -> list[bytes]:
    """A request for every slot: most have the largest frame that is kept, some take most while they are decoded."""
    shades = np.random.default_rng(0).integers(0, 256, (192, 192, 3), np.uint8)
    drawn = Image.fromarray(shades)
    largest_frame = padded(encode(drawn.resize((3072, 3072), Image.Resampling.BICUBIC), "JPEG"))
    ordinary = padded(encode(drawn.resize((5000, 5000), Image.Resampling.BICUBIC), "JPEG"))
    large = padded(encode(Image.new("RGB", (6400, 4000), (120, 90, 60)), "PNG"))
    return [largest_frame] * (PLACES - 2 * DEMANDING) + [ordinary] * DEMANDING + [large] * DEMANDING


def encode(image: Image.Image, form: str) -> bytes:
    """`image` as a file."""
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def padded(photo: bytes) -> bytes:
    """A request with `photo`, which zeros after its end make as large as photos may be."""
    photo += bytes(PHOTO_BYTES - len(photo))
    return lens_service_pb2.SearchRequest(photo=photo).SerializeToString()


async def search_all(target: str, requests: list[bytes]) -> dict[str, int]:
    """Sends a request for every slot, a few at a time until each is accepted. Returns the number of calls by code."""
    sending = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> str:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            method: Any = channel.unary_stream(SEARCH, request_serializer=bytes)
            async with sending:
                call = method(requests[number % len(requests)], timeout=CALL_S)
                with suppress(grpc.aio.AioRpcError):
                    await call.read()
            with suppress(grpc.aio.AioRpcError):
                while await call.read() is not grpc.aio.EOF:
                    pass
            return str((await call.code()).name)

    return dict(Counter(await asyncio.gather(*(one(number) for number in range(PLACES)))))


def keep_uploading(target: str, over: threading.Event) -> None:
    """Holds uploads of the largest photo that lack their last byte, on new connections whenever they were refused."""
    body = memoryview(struct.pack(">BI", 0, PHOTO_BYTES) + bytes(PHOTO_BYTES - 1))
    while not over.is_set():
        with suppress(OSError), ExitStack() as stack:
            connections = [stack.enter_context(Connection(target)) for _ in range(CONNECTIONS)]
            sent = {(one, one.open(timeout=f"{CALL_S}S")): 0 for one in connections for _ in range(UPLOADS_EACH)}
            while not over.is_set() and any(stream not in one.ended for one, stream in sent):
                moved = sum(send_some(one, stream, body, sent) for one, stream in sent)
                for one in connections:
                    one.listen()
                if not moved:
                    over.wait(0.05)


def send_some(one: Connection, stream: int, body: memoryview, sent: dict[tuple[Connection, int], int]) -> int:
    """Sends what the windows of one upload allow; returns the bytes."""
    place = sent[one, stream]
    if stream in one.ended or place >= len(body):
        return 0
    moved = one.send(stream, body[place:])
    sent[one, stream] = place + moved
    return moved


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """Freezes tritonserver during the block, because the server would replace models that freeze."""
    (engine,) = below(pid)["tritonserver"]
    engine.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            engine.send_signal(signal.SIGCONT)


@dataclass(slots=True)
class Most:
    """The sample in which all processes together took most, and the most bytes of requests."""

    total: int = 0
    by_role: Mapping[str, int] = field(default_factory=dict)
    now: int = 0
    request_bytes: float = 0.0


@contextmanager
def sampled(pid: int) -> Iterator[Most]:
    """Samples the memory of the server's processes during the block."""
    most, over = Most(), threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_S):
            found = taken(pid)
            most.now = sum(found.values())
            if most.now > most.total:
                most.total, most.by_role = most.now, found

    thread = threading.Thread(target=sample, name="memory", daemon=True)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def taken(pid: int) -> dict[str, int]:
    """Bytes of each process of the server, by its role."""
    found = {"server": proportional(pid)}
    for role, processes in below(pid).items():
        found[role] = sum(proportional(process.pid) for process in processes)
    return found


def proportional(pid: int) -> int:
    """The proportional set size of a process in bytes; 0 when it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (OSError, psutil.Error):
        return 0
    return int(re.findall(r"(?m)^Pss:\s+(\d+)", text)[0]) * 1024


async def until_settled(server: LocalServer, most: Most, within_s: float, wanted: int) -> int:
    """Returns the most calls inside, when memory has stopped growing and `wanted` are inside, or after `within_s`."""
    until, since, before, inside = time.monotonic() + within_s, time.monotonic(), 0, 0
    while time.monotonic() < until and (inside < wanted or time.monotonic() - since < SETTLED_S):
        await asyncio.sleep(0.5)
        if most.now > before + SETTLED_BYTES:
            before, since = most.now, time.monotonic()
        try:
            seen = await asyncio.to_thread(scrape, server.metrics_url)
        except OSError:  # it is too busy to answer; its memory is sampled nevertheless
            continue
        inside = max(inside, int(seen.sum("sightline_in_flight")))
        most.request_bytes = max(most.request_bytes, seen.sum("sightline_request_bytes"))
    return inside


if __name__ == "__main__":
    sys.exit(main())
