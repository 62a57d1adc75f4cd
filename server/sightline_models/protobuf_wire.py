"""Reads the wire format of protocol buffers, without a schema.

Place in the flow: bytes of a message -> its fields -> the reader of a format (`paddle.py`). The one rule: every length
is compared with the bytes that are there, so a damaged file ends in `ModelError` and never in a wrong value.

Format: https://protobuf.dev/programming-guides/encoding/ (varints, length-delimited fields, fixed 32 and 64 bits).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sightline_models.errors import ModelError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_VARINT_BYTES = 10


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its number, and an integer (varint) or the raw bytes (all other kinds)."""

    number: int
    value: int | bytes

    def message(self) -> bytes:
        """The bytes of a nested message. Raises `ModelError` for a number."""
        if isinstance(self.value, int):
            raise ModelError(f"protobuf: field {self.number} is a number, expected bytes")
        return self.value

    def text(self) -> str:
        """The value as UTF-8 text. Raises `ModelError` for other bytes."""
        try:
            return self.message().decode("utf-8")
        except UnicodeDecodeError as error:
            raise ModelError(f"protobuf: field {self.number} is not UTF-8 text") from error

    def integer(self) -> int:
        """The value as a signed 64-bit integer. Raises `ModelError` for bytes, such as a packed list."""
        if not isinstance(self.value, int):
            raise ModelError(f"protobuf: field {self.number} is not a number")
        return self.value - (1 << 64) if self.value >> 63 else self.value

    def float32(self) -> float:
        """The value as a float of 32 bits. Raises `ModelError` for another size."""
        data = self.message()
        if len(data) != 4:
            raise ModelError(f"protobuf: field {self.number} has {len(data)} bytes, expected 4 of a float")
        return float(struct.unpack("<f", data)[0])


def fields(data: bytes) -> Iterator[Field]:
    """Yields the fields of a message in their order. Raises `ModelError` for data that is cut off or damaged."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield Field(number, value)
            continue
        if kind == _BYTES:
            size, position = _varint(data, position)
        elif kind in _FIXED_SIZES:
            size = _FIXED_SIZES[kind]
        else:
            raise ModelError(f"protobuf: wire type {kind} of field {number} is not known")
        if size > len(data) - position:
            raise ModelError(f"protobuf: field {number} is cut off")
        yield Field(number, data[position : position + size])
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The unsigned integer at `position`, and the position after it."""
    value = 0
    for index, byte in enumerate(data[position : position + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & ((1 << 64) - 1), position + index + 1
    raise ModelError("protobuf: an integer is cut off or too long")
