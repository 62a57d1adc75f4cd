"""The server's own memory: nothing of a photo stays in what has been freed, and nobody but root can read the rest.

glibc overwrites what is freed (M_PERTURB), and what is freed is given back to the kernel when the server rests. Rule:
called once at the start of each process that sees photos, before it starts others; other C libraries are left alone.
"""

import atexit
import ctypes
import gc
import os
import resource
import sys
from contextlib import suppress

M_PERTURB, M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -6, -1, -3, -8
PATTERN = 90
"""Byte that overwrites freed memory."""
KEPT_BYTES = 1 << 24
"""Free bytes at the end of a heap that stay for the next photo. By default glibc gives most frames back to the kernel
after each photo, and every 4 kB of the next one are a page fault. `give_back` cannot reach the end of the heaps that
belong to threads, and there are several for each core: with 256 MB of each, uploads left up to 260 MB behind."""
LARGE_BYTES = 1 << 25
"""Blocks of at least so many bytes, the most that glibc takes, go back to the kernel as soon as they are freed."""
ARENAS_PER_CORE = 4
"""Heaps for all threads together, for each core; glibc makes eight. Threads that come and go, such as those in which
Lance writes, begin in one heap after the other and leave up to 12 MB at the end of each, so a catalog that was written
all the time grew until every heap had them: by 2 MB a minute with 16 heaps, by 0.7 to 1.1 with 8 or 2. Fewer
heaps make threads wait for each other: what is allocated and freed is overwritten under the lock of its heap."""
PR_SET_DUMPABLE = 4


def protect(*, overwrite: bool = True) -> None:
    """Freed memory is overwritten from now on; no core dumps, and no access for other processes of this user.

    Without `overwrite` freed memory keeps its content until `give_back`. glibc also fills new memory, which takes 0.8
    ms of CPU a megabyte.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_ARENA_MAX, ARENAS_PER_CORE * (os.cpu_count() or 1))
    if overwrite and hasattr(library, "mallopt"):
        library.mallopt(M_PERTURB, PATTERN)
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
    # First: what is not dumpable may not write it. A program that dumps core through a pipe ignores RLIMIT_CORE.
    with suppress(OSError), open("/proc/self/coredump_filter", "w") as file:
        file.write("0")
    library.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def keep_modules() -> None:
    """Leaves what has been imported out of Python's collections, which stop every thread: it stays to the end anyway.

    To be called before there is anything else: a reference cycle that is kept is never freed.
    """
    gc.collect()
    gc.freeze()
    # At the end they are freed as always: nanobind, which some libraries are made with, reports what is left on stderr.
    atexit.register(gc.unfreeze)


def give_back() -> None:
    """Gives free memory back to the kernel. Blocks for some milliseconds."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
