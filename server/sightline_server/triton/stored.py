"""The specification of a model that is stored on this disk, read without a Triton, for `sightline models check`.

Rule: the readers of specs.py decide, as for a served model; only the source of their facts differs. Triton takes names,
types and sizes of the tensors from the ONNX file, so they are given here.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sightline_server.domain.models import SpecT
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton.client import parse_config
from sightline_server.triton.queueing import warn_of_waits
from sightline_server.triton.specs import ServedModel

DATATYPES: Mapping[str, str] = {
    "tensor(bool)": "BOOL",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
}
"""ONNX Runtime's types whose names at Triton differ by more than case."""


class OnnxTensor(Protocol):
    """An input or output as ONNX Runtime describes it; a size is a number, or a name when it is dynamic."""

    @property
    def name(self) -> str:
        """The tensor's name."""

    @property
    def type(self) -> str:
        """Its type, such as `tensor(uint8)`."""

    @property
    def shape(self) -> Sequence[int | str | None]:
        """Its sizes, the batch included."""


def read_stored(
    model: ServedModel[SpecT], config: Path, inputs: Iterable[OnnxTensor], outputs: Iterable[OnnxTensor]
) -> SpecT:
    """The specification of `model` from its `config.pbtxt` and the tensors of its ONNX file.

    Raises `SightlineError` of kind CONFIGURATION for what a server with this model would refuse, and `OSError` where
    the file cannot be read.
    """
    metadata = {"inputs": [entry(tensor) for tensor in inputs], "outputs": [entry(tensor) for tensor in outputs]}
    found = read_config(model.role, config)
    warn_of_waits(model.role, found)
    return model.read(model.role, metadata, found, "")


def read_config(model: str, path: Path) -> dict[str, Any]:
    """The configuration in a file. Raises `SightlineError` of kind CONFIGURATION that names the file, and `OSError`."""
    try:
        config = parse_config(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SightlineError(ErrorKind.CONFIGURATION, f"{path}: Triton cannot read it: {error}") from error
    if (name := config.get("name", model)) != model:
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"{path}: `name` is {name!r}; expected {str(model)!r}, or no name"
        )
    return config


def entry(tensor: OnnxTensor) -> dict[str, Any]:
    """A tensor as Triton's metadata describes it; dynamic sizes are -1."""
    return {
        "name": tensor.name,
        "datatype": DATATYPES.get(tensor.type, tensor.type.removeprefix("tensor(").removesuffix(")").upper()),
        "shape": [size if isinstance(size, int) else -1 for size in tensor.shape],
    }
