"""F3, F8: photos of few bytes that would cost seconds and a gigabyte, or fill the log, through the real channel.

Each is sent alone, once by a caller that waits and once by one that cancels during decoding, and then one after the
other while a good caller goes on. Rule: what counts is what the server does outside the engine, in its own process and
in those that decode for it.
"""

import asyncio
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import cycle, product
from pathlib import Path

import grpc
import numpy as np
import psutil
from PIL import Image

from load_tests.attacks.frame import (
    MB,
    OWN_CONNECTION,
    PATIENCE_S,
    Attack,
    Bound,
    Seen,
    Target,
    at_rest,
    honest_caller,
    watched,
)
from load_tests.generator.records import percentile
from load_tests.observe.processes import below
from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc
from tests.support.hostile_photos import HOSTILE, NOISY
from tests.support.pictures import encode

PHOTOS: Mapping[str, Callable[[], bytes]] = {**HOSTILE, **NOISY}
CPU_S, MEMORY_MB, TIMES_SLOWER = 1.0, 400, 2.0
LEAVES_AFTER_S = 0.1
TRIES = 2
"""Times that each photo is sent: the host of a virtual machine gives memory at its first touch, which takes the one
photo that needs it up to half a second of system time."""
STARTER = encode(Image.new("CMYK", (64, 64), (99, 140, 180, 20)))
"""A photo that is decoded in a process; the first one starts the fork server, which stays."""
QUIET_S = 60.0
"""Seconds for which a good caller is observed without the attack, and as many with it, at full size."""
TURNS = 4
SEARCH_EVERY_S = 0.5
STILL_S = 0.2
BARELY_S = 0.02
"""CPU time in `STILL_S` below which nothing is being decoded."""
FIND_EVERY_S = 0.25
"""Seconds between searches for new processes, which cost more than to sample the known ones."""
OURS = re.compile(r"(\d{4}-\d\d-\d\d .* )?\"?sightline_server\.|\{\"time\"")
FAULTS = {"INTERNAL", "UNKNOWN"}


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one photo, and the code with which its call ended."""

    name: str
    cpu_s: float
    memory_mb: float
    code: str


async def run(target: Target, share: float) -> list[Bound]:
    """Sends all photos, or every few of them for a smaller share."""
    names = list(PHOTOS)[:: max(1, round(1 / share))]
    photos = {name: await asyncio.to_thread(PHOTOS[name]) for name in names}
    await send(target.address, STARTER, leaves=False)
    decoders, logged = Decoders(target.pid), Lines(target)
    costs = []
    for name, photo in photos.items():
        for leaves in (False, True):
            called = f"{name}{', left' if leaves else ''}"
            costs.append(cheapest([await cost(target, decoders, called, photo, leaves) for _ in range(TRIES)]))
            print("  {0.name}: {0.cpu_s:.2f} s, {0.memory_mb:.0f} MB, {0.code}".format(costs[-1]), file=sys.stderr)
    lines, foreign = logged.since()
    return [
        worst("s of CPU", costs, lambda each: each.cpu_s, CPU_S),
        worst("MB at the peak", costs, lambda each: each.memory_mb, MEMORY_MB),
        Bound("calls that ended with INTERNAL or UNKNOWN", sum(each.code in FAULTS for each in costs), 0),
        Bound("log lines beyond one a call", abs(lines - TRIES * len(costs)), 0),
        Bound("log lines that are not ours", foreign, 0),
        *await beside_a_good_caller(target, list(photos.values()), QUIET_S * share),
    ]


def cheapest(tries: list[Cost]) -> Cost:
    """The least CPU time and the most memory of several tries of one photo."""
    return replace(min(tries, key=lambda each: each.cpu_s), memory_mb=max(each.memory_mb for each in tries))


def worst(what: str, costs: list[Cost], figure: Callable[[Cost], float], at_most: float) -> Bound:
    """The bound on the most expensive photo, by its name."""
    most = max(costs, key=figure)
    return Bound(f"{what} for one photo, at most ({most.name})", figure(most), at_most)


async def cost(target: Target, decoders: "Decoders", name: str, photo: bytes, leaves: bool) -> Cost:
    """Sends one photo and waits until nothing of it is being decoded, also when its call was cancelled."""
    await decoders.still()
    before = decoders.cpu_s
    with watched(lambda: decoders.resident_mb) as memory:
        code = await send(target.address, photo, leaves)
        await decoders.still()
    await at_rest(target)
    return Cost(name, decoders.cpu_s - before, memory.grown, code)


async def send(address: str, photo: bytes, leaves: bool) -> str:
    """The code of one search on its own connection; with `leaves` it is cancelled after `LEAVES_AFTER_S`."""
    options = [("grpc.max_send_message_length", -1), *OWN_CONNECTION]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        await channel.channel_ready()
        request = lens_service_pb2.SearchRequest(photo=photo)
        call = lens_service_pb2_grpc.LensServiceStub(channel).Search(request, timeout=PATIENCE_S)
        leaving = asyncio.get_running_loop().call_later(LEAVES_AFTER_S, call.cancel) if leaves else None
        with suppress(grpc.aio.AioRpcError, asyncio.CancelledError):
            async for _ in call:
                pass
        if leaving:
            leaving.cancel()
        return str((await call.code()).name)


async def beside_a_good_caller(target: Target, photos: list[bytes], seconds: float) -> list[Bound]:
    """A good caller's p99 while the photos are sent one after the other, in relation to its quiet one.

    Both are measured in turn, `TURNS` times, so that a machine that gets busier makes both slower.
    """
    quiet, attacked = Seen(), Seen()
    endless = cycle(product(photos, (False, True)))
    for _ in range(TURNS):
        async with honest_caller(target, search_every_s=SEARCH_EVERY_S) as seen:
            await asyncio.sleep(seconds / TURNS)
        quiet.searches += seen.searches
        async with honest_caller(target, search_every_s=SEARCH_EVERY_S) as seen:
            until = time.monotonic() + seconds / TURNS
            while time.monotonic() < until:
                photo, leaves = next(endless)
                await send(target.address, photo, leaves)
        attacked.searches += seen.searches
        await at_rest(target)
    return [
        Bound("times slower a good caller's p99", p99(attacked) / p99(quiet), TIMES_SLOWER),
        Bound("searches of it that failed", attacked.failed, 0),
    ]


def p99(seen: Seen) -> float:
    """Seconds of the searches that succeeded; infinity when none did."""
    done = [seconds for code, seconds in seen.searches if code == "OK"]
    return percentile(np.array(done), 99) if done else float("inf")


@dataclass(slots=True)
class Lines:
    """The lines that the server has logged since this object was made."""

    target: Target
    before: int = field(init=False)

    def __post_init__(self) -> None:
        self.before = len(self._all())

    def since(self) -> tuple[int, int]:
        """The number of lines, and of those that are not the server's own."""
        new = self._all()[self.before :]
        return len(new), sum(not OURS.match(line) for line in new)

    def _all(self) -> list[str]:
        return self.target.log.read_text(errors="replace").splitlines()


class Decoders:
    """The server's process and those that decode for it: all below it but the engine."""

    def __init__(self, pid: int) -> None:
        self._server = psutil.Process(pid)
        self._below: list[psutil.Process] = []
        self._found_at = float("-inf")

    @property
    def cpu_s(self) -> float:
        """CPU seconds so far, those of processes that have ended included."""
        return sum(sum(each.cpu_times()[:4]) for each in self._living())

    @property
    def resident_mb(self) -> float:
        """Resident memory in MB. Shared memory of processes below the server counts in the server, which gets it."""
        server, *others = self._living()
        return float(server.memory_info().rss) / MB + sum(own_mb(each.pid) for each in others)

    async def still(self) -> None:
        """Returns when none of them has anything to do, after `PATIENCE_S` at the latest."""
        until, before = time.monotonic() + PATIENCE_S, self.cpu_s
        while time.monotonic() < until:
            await asyncio.sleep(STILL_S)
            before, spent = self.cpu_s, self.cpu_s - before
            if spent < BARELY_S:
                return

    def _living(self) -> Iterator[psutil.Process]:
        if time.monotonic() - self._found_at > FIND_EVERY_S:
            self._below, self._found_at = below(self._server.pid)["other"], time.monotonic()
        for each in (self._server, *self._below):
            with suppress(psutil.NoSuchProcess):
                each.cpu_times()
                yield each


def own_mb(pid: int) -> float:
    """Resident memory of process `pid` in MB without shared memory; 0 when it has ended."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        if "VmRSS" in fields:
            return (int(fields["VmRSS"].split()[0]) - int(fields["RssShmem"].split()[0])) / 1000
    return 0.0


ATTACK = Attack("decode", "F3, F8: photos that cost too much or fill the log", run)
