"""A process that makes hostile calls, some at once on each of its connections, and counts how they end.

Rule: its own fault is never taken for the server's: a connection that the server ends, as it may, is replaced, and
the calls on it count as cut off.
"""

import multiprocessing
import os
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Connection as Pipe
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from threading import Thread

from load_tests.attacks.http2 import (
    CANCEL,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    RST_STREAM,
    SETTINGS,
    Connection,
    frame,
)
from load_tests.generator.playing import end_with_parent
from load_tests.hostile.call import HostileCall
from load_tests.hostile.materials import Materials
from load_tests.hostile.mix import Mix, RawBytes
from tests.support.grants import MARK

AT_ONCE = 64
HALF_SENT = 8
"""Calls of a connection that are begun and neither end nor are cancelled."""
CALLS_OF_A_CONNECTION = 200
LISTEN_EVERY = 16
ANSWER_S = 60.0
"""Seconds in which a call must end. Its deadline is shorter; a machine that runs tests may pause for longer."""
STATUS, MESSAGE, DETAILS = b"grpc-status", b"grpc-message", b"grpc-status-details-bin"
BLAME = (b"2", b"13")
"""UNKNOWN and INTERNAL."""
HEADER_TABLE_SIZE = 1
WINDOW = 1 << 24


@dataclass(slots=True)
class Ends:
    """The ends of calls by kind and end, and examples of answers that blame the server."""

    calls: int = 0
    by_end: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    blaming: Counter[str] = field(default_factory=Counter)
    """Answers with INTERNAL or UNKNOWN, by kind of call, and by whether they are ours."""
    repeated: int = 0
    """Answers that have bytes of their call."""

    def add(self, other: "Ends") -> None:
        """Adds the ends of another process."""
        self.calls += other.calls
        self.repeated += other.repeated
        for name in ("by_end", "unanswered", "blaming"):
            getattr(self, name).update(getattr(other, name))


class Attacked(Connection):
    """A connection whose answers can be read without a table of HPACK: it asks the server to use none."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.trailers: dict[int, bytes] = {}
        sizes = struct.pack(">HIHI", HEADER_TABLE_SIZE, 0, INITIAL_WINDOW_SIZE, WINDOW)
        self._socket.sendall(frame(SETTINGS, 0, 0, sizes))

    def begin(self, hostile: HostileCall) -> int:
        """Sends a call; returns its stream."""
        stream = self._take()
        self._socket.sendall(hostile.frames(stream))
        return stream

    def reset(self, stream: int) -> None:
        """Cancels a call."""
        self._socket.sendall(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == HEADERS and flags & END_STREAM:
            self.trailers[stream] = payload
        super()._on_frame(kind, flags, stream, payload)


def header_of(block: bytes, name: bytes) -> bytes:
    """The value of a literal header in a block without Huffman coding; empty where there is none."""
    place = block.find(bytes([len(name)]) + name)
    if place < 0:
        return b""
    start = place + 1 + len(name)
    size = block[start] if start < len(block) else 0
    return block[start + 1 : start + 1 + size] if size < 127 else block[start + 1 :]


@dataclass(frozen=True, slots=True)
class Order:
    """The task of one attacker: so many calls, from a seed."""

    target: str
    materials: Materials
    seed: int
    calls: int


def attack(order: Order, pipe: Pipe, done: "Synchronized[int]", stop: Event) -> None:
    """The process of an attacker: sends its `Ends` through the pipe when it has made its calls, or must stop."""
    with suppress(OSError):
        # Real callers are on other machines; here they get only the CPU time that the server does not use.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=end_with_parent, name="parent", daemon=True).start()
    attacker = Attacker(order)
    for _ in attacker.turns():
        done.value = attacker.ends.calls
        if stop.is_set():
            break
    pipe.send(attacker.ends)


class Attacker:
    """Makes the calls of an order."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._mix = Mix(order.materials, order.seed)
        self.ends = Ends()

    def turns(self) -> Iterator[None]:
        """Makes calls on one connection after the other, and gives control back now and then."""
        calls = self._mix.calls()
        while self._left:
            with suppress(OSError), Attacked(self._order.target) as connection:
                stay = Stay(connection, self.ends)
                try:
                    for hostile in islice(calls, min(CALLS_OF_A_CONNECTION, self._left)):
                        stay.begin(hostile)
                        yield
                    stay.leave()
                finally:
                    stay.count_open()
            self._send_raw(self._mix.raw())
            yield

    @property
    def _left(self) -> int:
        return max(0, self._order.calls - self.ends.calls)

    def _send_raw(self, raw: RawBytes) -> None:
        self.ends.calls += 1
        host, _, port = self._order.target.rpartition(":")
        ended = "closed"
        try:
            with socket.create_connection((host, int(port)), timeout=1.0) as connection:
                connection.sendall(raw.sent)
                connection.settimeout(0.02)
                while connection.recv(1 << 16):
                    pass
        except TimeoutError:
            ended = "left open"
        except OSError:
            ended = "reset"
        self.ends.by_end[f"raw {ended}"] += 1


class Stay:
    """The calls on one connection, some at once: gRPC answers a malformed header after up to a second only."""

    def __init__(self, connection: Attacked, ends: Ends) -> None:
        self._connection = connection
        self._ends = ends
        self._open: dict[int, tuple[HostileCall, float]] = {}
        self._half: list[int] = []

    def begin(self, hostile: HostileCall) -> None:
        """Begins a call, once there is room for it. Raises `OSError` when the server ends the connection."""
        while len(self._open) >= AT_ONCE:
            self._listen()
        self._ends.calls += 1
        try:
            stream = self._connection.begin(hostile)
        except OSError:
            self._ends.by_end["cut off"] += 1
            raise
        self._open[stream] = (hostile, time.monotonic())
        if not hostile.ended and not hostile.reset:
            self._half.append(stream)
        if len(self._half) > HALF_SENT:
            self._connection.reset(self._half.pop(0))
        if hostile.reset or stream % (2 * LISTEN_EVERY) == 1:
            self._listen(0.0)

    def leave(self) -> None:
        """Cancels what is half sent, and waits for the ends of the others. Raises `OSError`."""
        for stream in self._half:
            self._connection.reset(stream)
        while any(hostile.answered for hostile, _ in self._open.values()):
            self._listen()

    def count_open(self) -> None:
        """Counts the calls that have no end."""
        for hostile, _ in self._open.values():
            self._ends.by_end["cut off" if hostile.answered else "left"] += 1
        self._open.clear()

    def _listen(self, wait_s: float = 0.05) -> None:
        """Reads what the server has sent, and counts the calls that have ended."""
        self._connection.listen(wait_s)
        late = time.monotonic() - ANSWER_S
        for stream, (hostile, begun) in list(self._open.items()):
            if stream in self._connection.ended or (not hostile.answered and stream not in self._half):
                self._count(stream, hostile)
            elif begun < late and hostile.answered:
                self._ends.unanswered[hostile.kind] += 1
                self._connection.reset(stream)
                del self._open[stream]

    def _count(self, stream: int, hostile: HostileCall) -> None:
        del self._open[stream]
        block = self._connection.trailers.pop(stream, b"")
        self._ends.repeated += MARK.encode() in block
        if not (status := header_of(block, STATUS)):
            self._ends.by_end["reset" if stream in self._connection.ended else "left"] += 1
            return
        self._ends.by_end[f"status {int(status)}"] += 1
        if status in BLAME:
            whose = "ours" if is_ours(block) else "gRPC"
            said = header_of(block, MESSAGE)[:80].decode("ascii", "replace")
            self._ends.blaming[f"{whose}: {hostile.kind}: {int(status)} {said}"] += 1


def is_ours(block: bytes) -> bool:
    """Returns whether a status is ours: it has our details, or gRPC's text for an error that a handler raised."""
    return DETAILS in block or b"Unexpected" in block


def blamed(ends: Ends) -> int:
    """Answers with INTERNAL or UNKNOWN that come from our code."""
    return sum(count for text, count in ends.blaming.items() if text.startswith("ours"))


class Attackers:
    """Several attackers with equal shares of `calls`, as a context manager."""

    def __init__(self, target: str, materials: Materials, *, processes: int, calls: int, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._done = [context.Value("q", 0) for _ in range(processes)]
        shares = [calls // processes + (number < calls % processes) for number in range(processes)]
        self._pipes = []
        self._processes = []
        for number, share in enumerate(shares):
            ours, theirs = context.Pipe(duplex=False)
            order = Order(target, materials, seed * 1000 + number, share)
            self._pipes.append(ours)
            self._processes.append(
                context.Process(target=attack, args=(order, theirs, self._done[number], self._stop), daemon=True)
            )

    def __enter__(self) -> "Attackers":
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for process in self._processes:
            process.join(ANSWER_S + 10.0)
            process.kill()
            process.join()

    @property
    def done(self) -> int:
        """Calls that were made up to now."""
        return sum(int(each.value) for each in self._done)

    @property
    def running(self) -> bool:
        """True while an attacker makes calls."""
        # A report that is larger than a pipe keeps its process alive until it is read.
        pairs = zip(self._processes, self._pipes, strict=True)
        return any(process.is_alive() and not pipe.poll(0) for process, pipe in pairs)

    def ends(self) -> Ends:
        """The ends of all calls. Raises `RuntimeError` when an attacker failed."""
        whole = Ends()
        for pipe in self._pipes:
            try:
                if not pipe.poll(ANSWER_S + 10.0):
                    raise EOFError
                whole.add(pipe.recv())
            except EOFError:
                raise RuntimeError("an attacker ended without a report; its error is above") from None
        return whole
