"""A server that forgets nothing: `python forgets_nothing.py PYTHON -m sightline_server serve ...`.

Shows that a search of its memory finds what is there: freed memory is not overwritten, in the server and in the stubs,
nor given back to the kernel, and no black images are run after a rest.
"""

import asyncio
import ctypes
import runpy
import sys

from sightline_server import memory
from sightline_server.triton.forgetting import Forgetting

memory.M_PERTURB = 0
memory.give_back = lambda: None

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGE = 32 << 20
"""Bytes, more than a frame has, from which on glibc maps an allocation by itself and gives it back when it is freed."""


async def never(self: Forgetting) -> None:
    """In place of `Forgetting.run`."""
    await asyncio.Event().wait()


if __name__ == "__main__":
    library = ctypes.CDLL(None)
    assert library.mallopt(M_MMAP_THRESHOLD, LARGE) and library.mallopt(M_TRIM_THRESHOLD, 1 << 30)
    setattr(Forgetting, "run", never)  # noqa: B010 (mypy lets nobody assign to a method)
    # What follows is PYTHON -m MODULE ARGUMENTS.
    del sys.argv[:3]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
