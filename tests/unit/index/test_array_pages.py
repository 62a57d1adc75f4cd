"""Arrays in pages of the kernel: as others, and gone from the process when they are freed."""

import gc
from pathlib import Path

import numpy as np
import pytest

from sightline_server.index.pages import LEAST_BYTES, array_in_pages


def mapped_bytes() -> int:
    """Bytes that the process maps."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * 4096


@pytest.mark.parametrize("rows", [0, 3, LEAST_BYTES // 8, LEAST_BYTES])
def test_an_array_in_pages_is_written_and_read_as_any_other(rows: int) -> None:
    found = array_in_pages((rows, 2), np.float32)
    assert found.shape == (rows, 2)
    assert found.dtype == np.float32
    found[:] = np.arange(rows)[:, np.newaxis]
    assert (found[:, 1] == np.arange(rows)).all()


def test_the_pages_of_a_large_array_are_given_back_at_once() -> None:
    gc.collect()
    before = mapped_bytes()
    found = array_in_pages((64, LEAST_BYTES), np.uint8)
    part = found[3:]
    del found
    assert mapped_bytes() - before >= 64 * LEAST_BYTES, "a part keeps the whole"
    del part
    assert mapped_bytes() - before < 32 * LEAST_BYTES


def test_memory_that_there_is_not_is_an_error_of_memory() -> None:
    with pytest.raises(MemoryError, match="no memory for 1152921504606846976 bytes"):
        array_in_pages((1 << 60,), np.uint8)
