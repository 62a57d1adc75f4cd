"""Files in memory (memfd) that carry an encoded photo to OpenCV or a decode process, and its pixels back.

Rule: they have no name in any file system, and their memory is gone when the last descriptor and mapping are closed.
Sizes are sealed before a decode process gets a file: one that was taken over could otherwise shrink it, and reading the
missing part would kill the server (SIGBUS).
"""

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

NAME = "sightline-photo"
AT_ONCE = mmap.MAP_SHARED | mmap.MAP_POPULATE
"""Maps all pages in one call; a fault for each page would cost more than the copy."""
FIXED_SIZE = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


@contextmanager
def memory_file(size: int) -> Iterator[int]:
    """The descriptor of a new file of `size` zero bytes, open for the length of the block. Raises `OSError`."""
    if not hasattr(os, "memfd_create"):
        raise OSError(errno.ENOSYS, "this system has no files in memory")
    descriptor = os.memfd_create(NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, FIXED_SIZE)
        yield descriptor
    finally:
        os.close(descriptor)


def fill(descriptor: int, content: bytes) -> None:
    """Writes the whole file and makes it read-only for everybody. Takes milliseconds for megabytes."""
    view, written = memoryview(content), 0
    while written < len(content):
        written += os.pwrite(descriptor, view[written:], written)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def content_of(descriptor: int) -> bytes:
    """Everything in the file."""
    size = os.fstat(descriptor).st_size
    content = os.pread(descriptor, size, 0)
    if len(content) != size:
        raise OSError(errno.EIO, "the file was not read whole")
    return content


def mapped(descriptor: int, size: int) -> NDArray[np.uint8]:
    """The first `size` bytes of the file as a read-only array, uint8 [size], without a copy."""
    return np.frombuffer(mmap.mmap(descriptor, size, AT_ONCE, mmap.PROT_READ), np.uint8)


def put(descriptor: int, *parts: memoryview | bytes) -> None:
    """Writes `parts` one behind the other through a mapping, because RLIMIT_FSIZE forbids every other way.

    Raises `ValueError` when they do not fit into the file.
    """
    views = [memoryview(part).cast("B") for part in parts]
    with mmap.mmap(descriptor, sum(map(len, views)), AT_ONCE) as target:
        for view in views:
            target.write(view)
