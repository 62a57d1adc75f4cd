"""The checkpoint reader: right numbers, no code, nothing but ModelError."""

import io
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline_models.errors import ModelError
from sightline_models.torch_legacy import read_state

MAGIC, PROTOCOL, FACTS = 0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}


class Storage:
    """Stands for a storage while a checkpoint is written."""

    def __init__(self, kind: type, key: str, values: np.ndarray) -> None:
        self.kind, self.key, self.values = kind, key, values


class Tensor:
    """Stands for a tensor while a checkpoint is written."""

    def __init__(self, rebuild: Callable[..., object], *arguments: object) -> None:
        self.rebuild, self.arguments = rebuild, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.rebuild, self.arguments


class Writer(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        if isinstance(obj, Storage):
            return ("storage", obj.kind, obj.key, "cpu", obj.values.size, None)
        return None


@pytest.fixture
def torch_names(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """The names that PyTorch writes into its files, importable while a test writes one."""

    def _rebuild_tensor_v2() -> None: ...

    torch, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")
    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    inner._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    for name in ("FloatStorage", "LongStorage", "HalfStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", inner)
    return types.SimpleNamespace(torch=torch, rebuild=_rebuild_tensor_v2)


def checkpoint(state: object, storages: list[Storage], facts: object = FACTS) -> bytes:
    stream = io.BytesIO()
    for part in (MAGIC, PROTOCOL, facts):
        pickle.dump(part, stream, protocol=2)
    Writer(stream, protocol=2).dump(state)
    pickle.dump([storage.key for storage in storages], stream, protocol=2)
    for storage in storages:
        stream.write(storage.values.size.to_bytes(8, "little") + storage.values.tobytes())
    return stream.getvalue()


def test_tensors_come_back_through_offset_and_strides(torch_names: types.SimpleNamespace) -> None:
    floats = Storage(torch_names.torch.FloatStorage, "a", np.arange(8, dtype="<f4"))
    longs = Storage(torch_names.torch.LongStorage, "b", np.array([7], dtype="<i8"))
    state = OrderedDict(
        turned=Tensor(torch_names.rebuild, floats, 2, (3, 2), (1, 3), False, OrderedDict()),
        count=Tensor(torch_names.rebuild, longs, 0, (), (), False, OrderedDict()),
    )
    read = read_state(checkpoint(state, [longs, floats]))
    assert read["turned"].tolist() == [[2, 5], [3, 6], [4, 7]]
    assert read["turned"].dtype == np.float32
    assert read["count"] == 7


@pytest.mark.parametrize(("offset", "shape", "strides"), [(6, (3,), (1,)), (0, (2, 2), (8, 1)), (0, (2,), (-1,))])
def test_a_tensor_outside_its_storage_is_refused(
    torch_names: types.SimpleNamespace, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    floats = Storage(torch_names.torch.FloatStorage, "a", np.arange(8, dtype="<f4"))
    state = OrderedDict(w=Tensor(torch_names.rebuild, floats, offset, shape, strides, False, OrderedDict()))
    with pytest.raises(ModelError, match="outside its storage"):
        read_state(checkpoint(state, [floats]))


def test_code_in_the_file_does_not_run(tmp_path: Path) -> None:
    touched = tmp_path / "touched"

    class Attack:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (touched,)

    with pytest.raises(ModelError, match="refuses to load"):
        read_state(checkpoint(OrderedDict(w=Attack()), []))
    assert not touched.exists()


def test_an_unknown_storage_is_refused(torch_names: types.SimpleNamespace) -> None:
    halves = Storage(torch_names.torch.HalfStorage, "a", np.zeros(2, dtype="<f2"))
    state = OrderedDict(w=Tensor(torch_names.rebuild, halves, 0, (2,), (1,), False, OrderedDict()))
    with pytest.raises(ModelError, match="HalfStorage"):
        read_state(checkpoint(state, [halves]))


def test_a_cut_file_is_refused(torch_names: types.SimpleNamespace) -> None:
    floats = Storage(torch_names.torch.FloatStorage, "a", np.arange(8, dtype="<f4"))
    state = OrderedDict(w=Tensor(torch_names.rebuild, floats, 0, (8,), (1,), False, OrderedDict()))
    with pytest.raises(ModelError, match="cut off"):
        read_state(checkpoint(state, [floats])[:-1])


def test_another_byte_order_is_refused() -> None:
    with pytest.raises(ModelError, match="big-endian"):
        read_state(checkpoint(OrderedDict(), [], facts={"little_endian": False}))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", pickle.dumps(5, protocol=2)])
def test_another_format_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        read_state(data)


@pytest.mark.parametrize("tail", [b"Nr\xff\xff\xff\x7f.", b"Np2147483647\n."])
def test_a_few_bytes_cannot_ask_for_gigabytes(tail: bytes) -> None:
    head = b"".join(pickle.dumps(part, protocol=2) for part in (MAGIC, PROTOCOL, FACTS))
    with pytest.raises(ModelError, match="no state of tensors needs"):
        read_state(head + tail)


@given(st.binary(max_size=64))
def test_any_tail_after_the_header_gives_a_model_error(tail: bytes) -> None:
    head = b"".join(pickle.dumps(part, protocol=2) for part in (MAGIC, PROTOCOL, FACTS))
    with pytest.raises(ModelError):
        read_state(head + tail)
