"""The C library's allocator of a server: started again once, so that everything it frees is overwritten.

    GLIBC_TUNABLES=glibc.malloc.tcache_count=0 -> execve -> the same process, which reads the variable -> serve
    ARROW_DEFAULT_MEMORY_POOL=system -> pyarrow allocates there too
glibc keeps freed blocks of at most 1032 bytes in a cache of their thread, which M_PERTURB does not overwrite, and reads
the switch for that only when a process begins. Rule: process id, descriptors, signal mask and death signal stay, and
what cannot be done here is left out: it never keeps a server from starting.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress

VARIABLE, TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.tcache_count"
ARROW_POOL = "ARROW_DEFAULT_MEMORY_POOL"
"""By default pyarrow has another allocator than glibc, mimalloc, in which 1 MB a minute stayed behind while a catalog
was written: what one thread freed there, another one cannot give back. It is not overwritten when it is freed either.
"""
STARTED_AGAIN = "SIGHTLINE_STARTED_AGAIN"
"""Holds the process id of a server that has started again: one whose variables are removed must not do it for ever."""


def start_again() -> None:
    """Becomes the same command without the cache; returns where that is so already, or cannot be.

    Call it before anything is opened, started or locked.
    """
    if is_glibc():
        os.environ.setdefault(ARROW_POOL, "system")
    again = os.environ.pop(STARTED_AGAIN, "") == str(os.getpid())
    if again or not needed(os.environ) or not sys.executable:
        return
    with suppress(OSError):
        os.execve(sys.executable, sys.orig_argv, without_cache(os.environ))  # noqa: S606 (a list, and no shell)


def needed(environment: Mapping[str, str]) -> bool:
    """Returns whether the C library is glibc and the variables leave the size of its cache open."""
    return is_glibc() and TUNABLE not in environment.get(VARIABLE, "")


def is_glibc() -> bool:
    """Returns whether the C library of this process is glibc."""
    if sys.platform != "linux" or "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        return False
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (OSError, ValueError):
        return False


def without_cache(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` with the tunable added to those that are there."""
    tunables = ":".join(filter(None, (environment.get(VARIABLE, ""), f"{TUNABLE}=0")))
    return {**environment, VARIABLE: tunables, STARTED_AGAIN: str(os.getpid())}
