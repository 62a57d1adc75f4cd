"""Large arrays outside the memory of the C library, for work next to searches.

Rule: memory of the C library is overwritten when it is allocated and when it is freed (`memory.py`), and numpy holds
Python's lock meanwhile: 30 ms for 50 MB, in which no other thread of the process goes on. Pages of the kernel are empty
when they come, and return to it at once.
"""

import math
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_BYTES = 1 << 20
"""Smaller arrays are of the C library: what the kernel does for each is more than overwriting them."""


def array_in_pages(shape: tuple[int, ...], dtype: type[np.generic] | np.dtype[Any]) -> NDArray[Any]:
    """An array whose content means nothing yet. Raises `MemoryError`."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < LEAST_BYTES:
        return np.empty(shape, dtype)
    try:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no memory for {size} bytes") from error
    return np.frombuffer(pages, dtype).reshape(shape)
