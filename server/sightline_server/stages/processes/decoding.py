"""The work of a decode process, from its start to its end: one photo after the other, as messages.py orders them.

It ends with its parent, with the socket, or when a photo takes too much memory or CPU. Rule: it opens no file and
writes none, knows nothing of the server's environment, and answers with public texts only. After each photo it gives
all free memory back to the kernel.
"""

import os
import resource
import signal
import socket
import sys
from contextlib import suppress

import numpy as np

from sightline_server.errors import SightlineError
from sightline_server.memory import give_back, protect
from sightline_server.orphans import die_with
from sightline_server.stages.colours import MAX_PROFILE
from sightline_server.stages.decode import DecodeLimits, prepare
from sightline_server.stages.processes.memory_files import content_of, put
from sightline_server.stages.processes.messages import GO, MAX_MESSAGE, READY, Decoded, Header, Order, refusal
from sightline_server.stages.refusals import too_much_memory

FIRST_TO_DIE = 1000
"""The highest oom_score_adj."""
OPEN_FILES = 16
"""Three standard ones, the socket, two in memory, and some while a rare decoder is loaded."""


def run(parent: int, descriptor: int, memory: int, seconds: int) -> None:
    """Decodes until socket `descriptor` or process `parent` ends; each photo within `memory` bytes and `seconds`."""
    die_with(parent)
    die_first()
    protect(overwrite=False)
    # A signal to the whole terminal or service must not end it before the server, which lets accepted calls finish.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as server:
        restrict(memory)
        server.send(READY)
        while received := receive(server):
            allow_seconds(seconds)
            serve(server, *received)
            del received
            give_back()


def die_first() -> None:
    """Makes the kernel kill this process before the server when memory runs out. Call it before `protect`."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(FIRST_TO_DIE))


def restrict(memory: int) -> None:
    """Limits the address space and the open files of this process, and forbids it to grow files."""
    memory = within_hard(resource.RLIMIT_AS, memory)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def allow_seconds(seconds: int) -> None:
    """Makes the kernel end this process (SIGXCPU) after `seconds` more of CPU."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (within_hard(resource.RLIMIT_CPU, limit), hard))


def within_hard(kind: int, wanted: int) -> int:
    """`wanted`, or the hard limit of the server where that is lower: only root may raise it."""
    _, hard = resource.getrlimit(kind)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def receive(server: socket.socket) -> tuple[bytes, int] | None:
    """The next message and its file; None when the server is gone."""
    with suppress(ConnectionError):
        message, descriptors, _, _ = socket.recv_fds(server, MAX_MESSAGE, 1)
        if message and descriptors:
            return message, descriptors[0]
    return None


def serve(server: socket.socket, message: bytes, file: int) -> None:
    """Answers one order."""
    limits = Order.decode(message).limits
    try:
        decode(server, taken(file), limits)
    except SightlineError as error:
        server.send(refusal(error))
    except MemoryError:
        server.send(refusal(too_much_memory()))


def taken(file: int) -> bytes:
    """The content of a file, which is closed."""
    try:
        return content_of(file)
    finally:
        os.close(file)


def decode(server: socket.socket, photo: bytes, limits: DecodeLimits) -> None:
    """Sends the values of the header, and the pixels when the server asks for them. Raises `SightlineError`."""
    prepared = prepare(photo, limits)
    source = prepared.source
    server.send(Header(source.width, source.height, prepared.weight).encode())
    received = receive(server)
    if received is None or received[0] != GO:
        sys.exit()
    _, file = received
    try:
        pixels = np.ascontiguousarray(prepared.pixels())
        profile = source.profile if len(source.profile) <= MAX_PROFILE else b""
        put(file, pixels.data, profile)
    finally:
        os.close(file)
    height, width = pixels.shape[:2]
    server.send(Decoded(width, height, len(profile)).encode())
