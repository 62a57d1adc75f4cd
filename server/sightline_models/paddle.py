"""Reads a Paddle inference model: its program (`.pdmodel`) and its combined parameters (`.pdiparams`), without Paddle.

Place in the flow: wheel members -> Network -> `paddle_graph.py` -> recipe. The one rule: the parameters must be used up
to the last byte, and a file that is damaged or of another format is an error.

Format: `ProgramDesc` of Paddle's framework.proto; of its blocks only the first is read, since an inference program has
no other. The parameter file holds the persistable variables in order of their names. Each is a version (uint32), the
number of LoD levels (uint64) with their sizes and offsets, a version again, the size of a `TensorDesc` (int32), that
message, and the raw little-endian numbers.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sightline_models.errors import ModelError
from sightline_models.graph import FloatArray
from sightline_models.protobuf_wire import Field, fields

_FLOAT32 = 5
"""`VarType.FP32`."""
_NOT_STORED = frozenset({"feed", "fetch"})

Attribute = int | float | str | bool | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: variable names by slot, and its attributes.

    Attributes of other types than numbers, texts and lists of numbers are left out; no translated operator has any.
    """

    kind: str
    inputs: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, Attribute]

    def input(self, slot: str) -> str:
        """The one variable of an input slot. Raises `ModelError` for none or several."""
        return _single(self, slot, self.inputs)

    def output(self, slot: str) -> str:
        """The one variable of an output slot. Raises `ModelError` for none or several."""
        return _single(self, slot, self.outputs)


@dataclass(frozen=True, slots=True)
class Network:
    """The operators in the order in which they run, and the parameters by name."""

    operators: tuple[Operator, ...]
    parameters: Mapping[str, FloatArray]

    def last(self, kind: str) -> Operator:
        """The last operator of a kind. Raises `ModelError` where there is none."""
        for operator in reversed(self.operators):
            if operator.kind == kind:
                return operator
        raise ModelError(f"paddle: the program has no operator {kind}; it is of another network")

    def producer(self, variable: str) -> Operator:
        """The last operator that writes `variable`. Raises `ModelError` where none does."""
        for operator in reversed(self.operators):
            if any(variable in names for names in operator.outputs.values()):
                return operator
        raise ModelError(f"paddle: no operator writes {variable}; the program is of another network")


def read_network(program: bytes, parameters: bytes) -> Network:
    """Reads both files of an inference model.

    Raises:
        ModelError: data that is cut off, a parameter of another type than float32, or bytes that are left over.
    """
    block = next((field.message() for field in fields(program) if field.number == 1), None)
    if block is None:
        raise ModelError("paddle: the program has no block; this is not a .pdmodel file")
    parts = list(fields(block))
    names = sorted(name for part in parts if part.number == 3 for name in _stored_name(part.message()))
    operators = tuple(_operator(part.message()) for part in parts if part.number == 4)
    return Network(operators, _Parameters(parameters).read(names))


def _single(operator: Operator, slot: str, slots: Mapping[str, tuple[str, ...]]) -> str:
    names = slots.get(slot, ())
    if len(names) != 1:
        raise ModelError(f"paddle: {operator.kind} has {len(names)} variables in {slot}, expected 1")
    return names[0]


def _stored_name(variable: bytes) -> Iterator[str]:
    """The name of a variable that the parameter file holds; nothing for any other."""
    parts = {field.number: field for field in fields(variable)}
    name = parts[1].text() if 1 in parts else ""
    if 3 in parts and parts[3].integer() and name not in _NOT_STORED:
        yield name


def _operator(data: bytes) -> Operator:
    parts = list(fields(data))
    kind = next((part.text() for part in parts if part.number == 3), "")
    inputs, outputs = (dict(_slot(part.message()) for part in parts if part.number == number) for number in (1, 2))
    attributes = [_attribute(part.message()) for part in parts if part.number == 4]
    return Operator(kind, inputs, outputs, {name: value for each in attributes for name, value in each.items()})


def _slot(data: bytes) -> tuple[str, tuple[str, ...]]:
    parts = list(fields(data))
    name = next((part.text() for part in parts if part.number == 1), "")
    return name, tuple(part.text() for part in parts if part.number == 2)


def _attribute(data: bytes) -> dict[str, Attribute]:
    """One attribute by its name, empty for a type that is left out. Numbers of fields are those of `OpDesc.Attr`."""
    parts = list(fields(data))
    name = next((part.text() for part in parts if part.number == 1), "")
    kind = next((part.integer() for part in parts if part.number == 2), -1)
    value = _value(kind, parts)
    return {} if value is None else {name: value}


def _value(kind: int, parts: Sequence[Field]) -> Attribute | None:
    def of(number: int) -> list[Field]:
        return [part for part in parts if part.number == number]

    match kind:
        case 0 | 9:  # INT, LONG
            return next((part.integer() for part in of(3 if kind == 0 else 13)), 0)
        case 1:  # FLOAT
            return next((part.float32() for part in of(4)), 0.0)
        case 2:  # STRING
            return next((part.text() for part in of(5)), "")
        case 3 | 11:  # INTS, LONGS
            return tuple(part.integer() for part in of(6 if kind == 3 else 15))
        case 4:  # FLOATS
            return tuple(part.float32() for part in of(7))
        case 6:  # BOOLEAN
            return any(part.integer() for part in of(10))
        case _:
            return None


class _Parameters:
    """The parameter file, read from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def read(self, names: Sequence[str]) -> dict[str, FloatArray]:
        """The parameters of `names`, which are in the order of the file."""
        found = {name: self._tensor(name) for name in names}
        if left := len(self._data) - self._position:
            raise ModelError(f"paddle: {left} bytes of the parameters are left over; they are of another program")
        return found

    def _tensor(self, name: str) -> FloatArray:
        self._version(name)
        for _ in range(self._number("<Q", name)):
            self._take(self._number("<Q", name), name)
        self._version(name)
        shape = _shape(self._take(self._number("<i", name), name), name)
        data = self._take(4 * math.prod(shape), name)
        return np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(shape)

    def _version(self, name: str) -> None:
        if version := self._number("<I", name):
            raise ModelError(f"paddle: parameter {name} has the format version {version}, expected 0")

    def _number(self, layout: str, name: str) -> int:
        return int(struct.unpack(layout, self._take(struct.calcsize(layout), name))[0])

    def _take(self, size: int, name: str) -> bytes:
        if not 0 <= size <= len(self._data) - self._position:
            raise ModelError(f"paddle: the parameters are cut off at {name}")
        start, self._position = self._position, self._position + size
        return self._data[start : self._position]


def _shape(description: bytes, name: str) -> tuple[int, ...]:
    """The shape in a `TensorDesc`. Raises `ModelError` for another type than float32."""
    parts = list(fields(description))
    kind = next((part.integer() for part in parts if part.number == 1), -1)
    if kind != _FLOAT32:
        raise ModelError(f"paddle: parameter {name} has the type {kind}, expected {_FLOAT32} (float32)")
    shape = tuple(part.integer() for part in parts if part.number == 2)
    if min(shape, default=0) < 0:
        raise ModelError(f"paddle: parameter {name} has the shape {shape}")
    return shape
