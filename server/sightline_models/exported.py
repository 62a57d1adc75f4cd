"""An ONNX file that an exporter of a training framework wrote, before it is wrapped into the contract.

Place in the flow: file -> `Exported` -> `adopted_embedder` or `adopted_detector`. The one rule: what cannot be wrapped
is refused here, with a sentence that says how to export the model instead.

The model is run once, on two images of noise: exporters state the shapes of outputs loosely or not at all, and many
files that declare a dynamic batch have a fixed one inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto
from onnx.external_data_helper import uses_external_data

from sightline_models.adoption import Normalization, Size
from sightline_models.check import open_session
from sightline_models.errors import ModelError
from sightline_models.graph import Graph
from sightline_models.pixels import float_pixels, normalized_pixels
from sightline_models.sources import sha256_of

_OLDEST_OPSET = 13
"""The first in which the operators around the model have the form that `Graph` writes."""
_IMAGES = 2
_CHANNELS = 3
_FLOATS: Mapping[int, type[np.generic]] = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}
_DYNAMIC_BATCH = "export it again with a dynamic first dimension, such as dynamic_axes={'pixel_values': {0: 'batch'}}"

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Exported:
    """A model with one input float [B, 3, H, W].

    element: the type of the input, FLOAT or FLOAT16. answers: all outputs by name, for two images of noise.
    """

    path: Path
    model: onnx.ModelProto
    input: str
    element: int
    size: Size
    answers: Mapping[str, Array]

    def answer(self, option: str, name: str | None) -> tuple[str, Array]:
        """The name and the values of an output.

        Args:
            option: the option that names the output, for messages.
            name: of the output; None is the only one of the file.

        Raises:
            ModelError: no such output, or one that is not a float tensor with a row for each image.
        """
        names = ", ".join(self.answers)
        if name is None and len(self.answers) > 1:
            raise ModelError(f"{self.path}: has the outputs {names}; name one with {option}")
        name = name or next(iter(self.answers))
        if name not in self.answers:
            raise ModelError(f"{self.path}: has no output {name!r}; {option} must be one of {names}")
        found = self.answers[name]
        if found.dtype not in (np.float32, np.float16):
            raise ModelError(f"{self.path}: output {name} is {found.dtype}; expected float32 or float16")
        if found.shape[:1] != (_IMAGES,):
            raise ModelError(
                f"{self.path}: output {name} has shape {list(found.shape)} for two images; {_DYNAMIC_BATCH}"
            )
        return name, found

    def wrap(
        self, contract_input: str, normalization: Normalization, outputs: Sequence[str]
    ) -> tuple[Graph, list[str]]:
        """A graph from uint8 images to the model's outputs, and the values float32 that hold these."""
        graph = Graph("adopted", opset=opset_of(self.model) or _OLDEST_OPSET, ir_version=self.model.ir_version)
        height, width = self.size
        images = graph.input(contract_input, np.uint8, ["batch", height, width, _CHANNELS])
        pixels = normalized_pixels(graph, float_pixels(graph, images), normalization)
        if self.element != TensorProto.FLOAT:
            pixels = graph.node("Cast", [pixels], to=self.element)
        values = graph.include(self.model, {self.input: pixels}, outputs)
        return graph, [graph.node("Cast", [value], to=TensorProto.FLOAT) for value in values]

    def metadata(self, normalization: Normalization, **options: object) -> dict[str, str]:
        """The `metadata_props` of the wrapped file: the digest of the original, and how it was wrapped."""
        facts = {"mean": normalization.mean, "std": normalization.std, "scale": normalization.scale, **options}
        return {"adopted_from_sha256": sha256_of(self.path)} | {key: str(value) for key, value in facts.items()}


def read_exported(path: Path, size: Size | None = None) -> Exported:
    """Reads and runs an exported file.

    Args:
        size: for a file whose input leaves height and width open.

    Raises:
        ModelError: a file that cannot be wrapped.
    """
    model = load_file(path)
    require_one_file(path, model)
    image = _only_input(path, model)
    element, found = _input_type(path, image), _input_size(path, image, size)
    require_opset(path, model)
    return Exported(path, model, image.name, element, found, _run(path, image.name, _FLOATS[element], found))


def shape_text(answer: Array) -> str:
    """The shape of an output as a message shows it, such as `[batch, 50, 768]`."""
    return f"[{', '.join(map(str, ('batch', *answer.shape[1:])))}]"


def load_file(path: Path) -> onnx.ModelProto:
    """The model in a file. Raises `ModelError`."""
    if not path.is_file():
        raise ModelError(f"no such file: {path}")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError as error:
        raise ModelError(f"{path}: is not an ONNX file, is damaged, or is larger than 2 GB") from error
    if not model.graph.node:
        raise ModelError(f"{path}: is not an ONNX file, or has no nodes")
    return model


def require_one_file(path: Path, model: onnx.ModelProto) -> None:
    """Raises `ModelError` for a model whose weights are in another file."""
    tensors = [*_tensors(model.graph.node), *model.graph.initializer]
    tensors += [each for function in model.functions for each in _tensors(function.node)]
    if any(map(uses_external_data, tensors)):
        raise ModelError(
            f"{path}: keeps its weights in another file; join them first: "
            f"python -c \"import onnx; onnx.save(onnx.load('{path}'), 'joined.onnx')\""
        )


def _tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """The tensors in the attributes of nodes, and all of their subgraphs."""
    for attribute in (each for node in nodes for each in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for graph in (attribute.g, *attribute.graphs):
            yield from graph.initializer
            yield from _tensors(graph.node)


def _only_input(path: Path, model: onnx.ModelProto) -> onnx.ValueInfoProto:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs) or "none"
        raise ModelError(
            f"{path}: must have one input, the pixels, and has {names}; "
            "export the image part alone, without post-processing"
        )
    return inputs[0]


def _input_type(path: Path, image: onnx.ValueInfoProto) -> int:
    element: int = image.type.tensor_type.elem_type
    if element not in _FLOATS:
        kind = TensorProto.DataType.Name(element).lower()
        hint = "; a file that keeps Sightline's contract is added by `sightline models add`" if kind == "uint8" else ""
        raise ModelError(f"{path}: input {image.name} is {kind}; expected float pixels [batch, 3, height, width]{hint}")
    return element


def _input_size(path: Path, image: onnx.ValueInfoProto, size: Size | None) -> Size:
    """The height and width of the input, those of `size` where the file leaves them open."""
    dims = [each.dim_value or each.dim_param or "?" for each in image.type.tensor_type.shape.dim]
    shape = f"{path}: input {image.name} has shape [{', '.join(map(str, dims))}]"
    if len(dims) != 4:
        raise ModelError(f"{shape}; expected [batch, 3, height, width]")
    batch, channels, *edges = dims
    if isinstance(channels, int) and channels != _CHANNELS:
        hint = "; export it with channels first" if dims[3] == _CHANNELS else ""
        raise ModelError(f"{shape}; expected [batch, 3, height, width]{hint}")
    if isinstance(batch, int):
        raise ModelError(f"{shape}, a batch of {batch} only; {_DYNAMIC_BATCH}")
    if size is None and not all(isinstance(edge, int) for edge in edges):
        raise ModelError(f"{shape}, any height and width; state those that it was trained with, such as --size 224")
    found = [edge if isinstance(edge, int) else (size or (0, 0))[axis] for axis, edge in enumerate(edges)]
    if size is not None and tuple(found) != size:
        raise ModelError(f"{shape}, which --size {size[0]}x{size[1]} cannot change; leave --size out")
    return found[0], found[1]


def opset_of(model: onnx.ModelProto) -> int | None:
    """The version of the standard operators; None where the file states none."""
    return next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), None)


def require_opset(path: Path, model: onnx.ModelProto) -> None:
    """Raises `ModelError` for a model whose operators are older than those that are added."""
    opset = opset_of(model)
    if opset is None or opset < _OLDEST_OPSET:
        raise ModelError(
            f"{path}: has opset {opset}; export it again with opset {_OLDEST_OPSET} or newer, 17 runs everywhere"
        )


def _run(path: Path, name: str, dtype: type[np.generic], size: Size) -> dict[str, Array]:
    session = open_session(path)
    images = np.random.default_rng(1).normal(size=(_IMAGES, _CHANNELS, *size)).astype(dtype)
    shape = f"{size[0]} x {size[1]}"
    try:
        answers = session.run(None, {name: images})
    except Exception as error:
        reason = _failure(session, name, images[:1])
        if reason:
            raise ModelError(
                f"{path}: fails for an image of {shape} ({reason}); state the size that it was trained with by --size"
            ) from error
        raise ModelError(f"{path}: fails for two images of {shape}, and not for one; {_DYNAMIC_BATCH}") from error
    tensors = (each if isinstance(each, np.ndarray) else np.empty(0, object) for each in answers)
    return dict(zip((each.name for each in session.get_outputs()), tensors, strict=True))


def _failure(session: Any, name: str, images: Array) -> str:
    """The first line of the error for these images; empty where there is none."""
    try:
        session.run(None, {name: images})
    except Exception as error:
        return str(error).splitlines()[0]
    return ""
