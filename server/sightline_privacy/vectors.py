"""Embeddings in bytes and texts: vectors of length one. Their content cannot be known here, and their form can.

Rule: a vector counts where its squares sum to one within the error of its type, and its numbers differ from each other.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = (64, 96, 128, 192, 256, 320, 384, 448, 512, 576, 640, 768, 896, 960, 1024, 1152, 1280, 1536, 1792, 2048)
TYPES = ((np.float32, 1e-5), (np.float16, 4e-3), (np.float64, 1e-6))
TEXT = re.compile(r"(?:-?\d*\.?\d+(?:[eE][+-]?\d+)?[,;\s]+){63,}-?\d*\.?\d+(?:[eE][+-]?\d+)?")
DISTINCT = 0.5
"""Share of the numbers of a vector that differ from each other."""


def has_vectors(data: bytes) -> bool:
    """Returns whether `data` has a vector of length one, as numbers of 2, 4 or 8 bytes at any multiple of that."""
    for kind, error in TYPES:
        width = np.dtype(kind).itemsize
        for shift in range(0, min(4, width), 4 if width > 2 else 2):
            values = np.frombuffer(data, kind, (len(data) - shift) // width if len(data) > shift else 0, shift)
            if any(_has_unit(part, error) for part in _parts(values)):
                return True
    return False


def has_vectors_as_text(text: str) -> bool:
    """Returns whether a text has a list of numbers that is a vector of length one."""
    for match in TEXT.finditer(text):
        values = np.array([float(each) for each in re.split(r"[,;\s]+", match[0]) if each])
        if _has_unit(values, 2e-2, dimensions=(len(values),)):
            return True
    return False


def _parts(values: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    """The longest rows of numbers of a vector: none is above one, all are finite, and few are zero."""
    with np.errstate(invalid="ignore"):
        good = np.abs(values) <= 1.0
    edges = np.flatnonzero(np.diff(np.concatenate(([False], good, [False])).astype(np.int8)))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin >= DIMENSIONS[0]:
            yield values[begin:end].astype(np.float64)


def _has_unit(values: NDArray[np.float64], error: float, dimensions: tuple[int, ...] = DIMENSIONS) -> bool:
    sums = np.concatenate(([0.0], np.cumsum(values * values)))
    for dimension in dimensions:
        if len(values) < dimension:
            break
        lengths = sums[dimension:] - sums[:-dimension]
        for begin in np.flatnonzero(np.abs(lengths - 1.0) <= error)[:100]:
            if len(np.unique(values[begin : begin + dimension])) >= dimension * DISTINCT:
                return True
    return False
