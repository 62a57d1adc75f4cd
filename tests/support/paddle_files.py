"""The small Paddle network of `tests/data` with Paddle's own answers, and edited copies of its files.

`paddle_sample.py` in `tests/congruence` made it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "paddle_sample.npz"


@cache
def sample() -> Mapping[str, NDArray[Any]]:
    """images, boxes and scores (Paddle's answers), wanted (their variables), program and parameters (bytes)."""
    with np.load(SAMPLE) as archive:
        return MappingProxyType(dict(archive))


def files() -> tuple[bytes, bytes]:
    """The program and the parameters."""
    return sample()["program"].tobytes(), sample()["parameters"].tobytes()


def varint(value: int) -> bytes:
    """An unsigned integer on the wire."""
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def number(field: int, value: int) -> bytes:
    """A field with an integer, signed ones as 64 bits."""
    return varint(field << 3) + varint(value & ((1 << 64) - 1))


def nested(field: int, data: bytes | str) -> bytes:
    """A field with bytes, a text or a message."""
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def program(variables: Iterable[bytes] = (), operators: Iterable[bytes] = ()) -> bytes:
    """A program with one block."""
    parts = [nested(3, variable) for variable in variables] + [nested(4, operator) for operator in operators]
    return nested(1, number(1, 0) + number(2, -1) + b"".join(parts))


def variable(name: str, *, stored: bool = True) -> bytes:
    """A variable of a block."""
    return nested(1, name) + number(3, int(stored))


def parameter(values: NDArray[np.float32], *, kind: int = 5, version: int = 0, levels: Iterable[bytes] = ()) -> bytes:
    """A parameter as the file holds it."""
    lod = list(levels)
    description = number(1, kind) + b"".join(number(2, size) for size in values.shape)
    head = struct.pack("<IQ", version, len(lod)) + b"".join(struct.pack("<Q", len(level)) + level for level in lod)
    return head + struct.pack("<Ii", 0, len(description)) + description + values.astype("<f4").tobytes()
