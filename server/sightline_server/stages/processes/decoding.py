"""The work of a decode process, from its fork to its end: one photo, as messages.py orders it.

It ends with its parent, with the socket, or when the photo takes too much memory or CPU. Rule: it opens no file and
writes none, knows nothing of the server's environment, and answers with public texts only.
"""

import io
import os
import resource
import signal
import socket
import sys
from contextlib import suppress

import numpy as np
from PIL import Image

from sightline_server.errors import SightlineError
from sightline_server.memory import protect
from sightline_server.orphans import die_with
from sightline_server.stages.colours import MAX_PROFILE
from sightline_server.stages.decode import DecodeLimits, prepare
from sightline_server.stages.memory_files import content_of, put
from sightline_server.stages.processes.messages import GO, MAX_MESSAGE, READY, Decoded, Header, Order, refusal
from sightline_server.stages.refusals import too_much_memory

SAMPLES = (("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("WEBP", "RGB"), ("TIFF", "RGB"))
SAMPLE_SIZE = 32
FIRST_TO_DIE = 1000
"""The highest oom_score_adj."""
OPEN_FILES = 16
"""Three standard ones, the socket, two in memory, and some while a rare decoder is loaded."""


def confine() -> None:
    """Takes from a fork server, and so from its children, what neither needs. Call it once, before the first fork."""
    die_first()
    protect(overwrite=False)
    # A signal to the whole terminal or service must not end it before the server, which lets accepted calls finish.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def warm_up() -> None:
    """Decodes small images that it makes: libraries prepare much at their first call, which takes 14 ms."""
    for kind, mode in SAMPLES:
        with io.BytesIO() as file:
            Image.new(mode, (SAMPLE_SIZE, SAMPLE_SIZE)).save(file, kind)
            photo = file.getvalue()
        prepare(photo, DecodeLimits(len(photo), SAMPLE_SIZE**2, SAMPLE_SIZE // 2, (kind.lower(),))).pixels()


def run(parent: int, descriptor: int, memory: int, seconds: int) -> None:
    """Decodes one photo, within `memory` bytes and `seconds`; ends with socket `descriptor` or process `parent`."""
    die_with(parent)
    with socket.socket(fileno=descriptor) as server:
        restrict(memory, seconds)
        server.send(READY)
        if received := receive(server):
            serve(server, *received)
            # Until the server has taken the pixels, and kills this process.
            receive(server)


def die_first() -> None:
    """Makes the kernel kill this process before the server when memory runs out. Call it before `protect`."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(FIRST_TO_DIE))


def restrict(memory: int, seconds: int) -> None:
    """Limits address space, CPU time and open files, and forbids to grow files. The kernel sends SIGXCPU."""
    memory, seconds = within_hard(resource.RLIMIT_AS, memory), within_hard(resource.RLIMIT_CPU, seconds + 1)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # At the hard limit the kernel sends SIGKILL, which looks like a lack of memory.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, within_hard(resource.RLIMIT_CPU, seconds + 1)))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


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
