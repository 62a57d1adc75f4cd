"""Arrays in pages of the kernel: as others, and gone from the process when they are freed."""

import mmap
import weakref
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.index.pages import LEAST_BYTES, array_in_pages


def owner_of(array: NDArray[Any]) -> object:
    """The object whose memory the array uses; the array itself where it has its own."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    return owner.obj if isinstance(owner, memoryview) else owner


@pytest.mark.parametrize("rows", [0, 3, LEAST_BYTES // 8, LEAST_BYTES])
def test_an_array_in_pages_is_written_and_read_as_any_other(rows: int) -> None:
    found = array_in_pages((rows, 2), np.float32)
    assert found.shape == (rows, 2)
    assert found.dtype == np.float32
    found[:] = np.arange(rows)[:, np.newaxis]
    assert (found[:, 1] == np.arange(rows)).all()


def test_the_pages_of_a_large_array_are_given_back_at_once() -> None:
    found = array_in_pages((4, LEAST_BYTES), np.uint8)
    pages = weakref.ref(owner_of(found))
    assert isinstance(pages(), mmap.mmap)
    part = found[3:]
    del found
    assert pages() is not None, "a part keeps the whole"
    del part
    assert pages() is None


def test_a_small_array_is_as_numpy_makes_it() -> None:
    found = array_in_pages((3, 2), np.float32)
    assert owner_of(found) is found


def test_memory_that_there_is_not_is_an_error_of_memory() -> None:
    with pytest.raises(MemoryError, match="no memory for 1152921504606846976 bytes"):
        array_in_pages((1 << 60,), np.uint8)
