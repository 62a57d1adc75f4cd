"""An exported text tower as a text encoder of the contract.

Place in the flow: ONNX file of a training framework -> bytes of an ONNX file, TOKENS int64 [B, L] -> EMBEDDINGS float32
[B, D] of length 1. The one rule: nodes are added before and after; the nodes of the tower stay as they were exported.

A tower with an attention mask gets it from the ids, so that a server sends ids only: a token counts unless it fills up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from sightline_models.check import open_session, token_probes
from sightline_models.errors import ModelError
from sightline_models.exported import load_file, opset_of, require_one_file, require_opset, shape_text
from sightline_models.graph import Graph
from sightline_models.sources import sha256_of
from sightline_models.tokenizer import TextTokenizer

_IDS = ("input_ids", "text", "tokens", "input")
_MASK = "attention_mask"
_INTEGERS: Mapping[int, type[np.generic]] = {TensorProto.INT64: np.int64, TensorProto.INT32: np.int32}
_EXPORT = "export the text part alone, with the inputs input_ids and, where it needs one, attention_mask"


@dataclass(frozen=True, slots=True)
class ExportedText:
    """A text tower: its inputs by name with their integer types, and all outputs for two rows of ids."""

    path: Path
    model: onnx.ModelProto
    ids: str
    types: Mapping[str, int]
    answers: Mapping[str, npt.NDArray[Any]]


def read_exported_text(path: Path, length: int) -> ExportedText:
    """Reads and runs an exported text tower on rows of `length` tokens.

    Raises:
        ModelError: a file that cannot be wrapped.
    """
    model = load_file(path)
    require_one_file(path, model)
    require_opset(path, model)
    types = _inputs(path, model, length)
    ids = next(name for name in types if name != _MASK)
    session = open_session(path)
    tokens = token_probes(length)
    feed = {name: (np.ones_like(tokens) if name == _MASK else tokens).astype(_INTEGERS[t]) for name, t in types.items()}
    try:
        found = session.run(None, feed)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"{path}: fails for two texts of {length} tokens ({reason}); export it with a dynamic batch, and state the "
            "number of tokens that it was trained with by --length"
        ) from error
    return ExportedText(path, model, ids, types, dict(zip((o.name for o in session.get_outputs()), found, strict=True)))


def wrap_text(exported: ExportedText, tokenizer: TextTokenizer, output: str | None) -> bytes:
    """The bytes of the wrapped file.

    Args:
        output: name of the tower's output [B, D]; None is the only one.

    Raises:
        ModelError: no such output, or one of another rank.
    """
    name, answer = _output(exported, output)
    model = exported.model
    graph = Graph("adopted", opset=opset_of(model) or 0, ir_version=model.ir_version)
    tokens = graph.input("TOKENS", np.int64, ["batch", tokenizer.length])
    values = {exported.ids: tokens}
    if _MASK in exported.types:
        values[_MASK] = _mask(graph, tokens, tokenizer)
    inputs = {each: graph.node("Cast", [value], to=exported.types[each]) for each, value in values.items()}
    (value,) = graph.include(model, inputs, [name])
    vector = graph.node("Cast", [value], to=TensorProto.FLOAT)
    unit = graph.node("LpNormalization", [vector], axis=1, p=2)
    graph.output(unit, "EMBEDDINGS", np.float32, ["batch", answer.shape[1]])
    return graph.serialize({"adopted_from_sha256": sha256_of(exported.path), "output": name})


def _inputs(path: Path, model: onnx.ModelProto, length: int) -> dict[str, int]:
    """The types of the inputs by name, the ids among them. Raises `ModelError` for others than ids and a mask."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {each.name: each.type.tensor_type for each in model.graph.input if each.name not in weights}
    ids = [name for name in inputs if name != _MASK]
    if len(ids) != 1 or (len(inputs) > 1 and ids[0] not in _IDS):
        raise ModelError(f"{path}: has the inputs {', '.join(inputs) or 'none'}; {_EXPORT}")
    for name, tensor in inputs.items():
        dims = [each.dim_value or each.dim_param or "?" for each in tensor.shape.dim]
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        if tensor.elem_type not in _INTEGERS or len(dims) != 2:
            shape = ", ".join(map(str, dims))
            raise ModelError(f"{path}: input {name} is {kind} [{shape}]; expected token ids, int64 [batch, length]")
        if isinstance(dims[0], int):
            raise ModelError(f"{path}: input {name} has a batch of {dims[0]} only; export it with a dynamic batch")
        if isinstance(dims[1], int) and dims[1] != length:
            raise ModelError(f"{path}: input {name} takes {dims[1]} tokens, and --length is {length}")
    return {name: tensor.elem_type for name, tensor in inputs.items()}


def _output(exported: ExportedText, name: str | None) -> tuple[str, npt.NDArray[Any]]:
    names = ", ".join(exported.answers)
    if name is None and len(exported.answers) > 1:
        raise ModelError(f"{exported.path}: has the outputs {names}; name the vector of a text with --output")
    name = name or next(iter(exported.answers))
    if name not in exported.answers:
        raise ModelError(f"{exported.path}: has no output {name!r}; --output must be one of {names}")
    found = exported.answers[name]
    if found.dtype not in (np.float32, np.float16) or found.ndim != 2 or len(found) != 2:
        raise ModelError(
            f"{exported.path}: output {name} is {found.dtype} {shape_text(found)}; expected one float vector for each "
            "text, [batch, dimension]; export the tower with its pooling and projection, such as text_embeds"
        )
    return name, found


def _mask(graph: Graph, tokens: str, tokenizer: TextTokenizer) -> str:
    """1 for each token of a text, 0 for those that fill up, int64 [B, L].

    Some tokenizers, such as CLIP's, fill up with the token that ends a text: its first occurrence belongs to the text.
    """
    pad = graph.constant(np.array(tokenizer.pad_id, dtype=np.int64))
    filled = graph.node("Cast", [graph.node("Equal", [tokens, pad])], to=TensorProto.INT64)
    if not tokenizer.ends_with_padding:
        return graph.node("Sub", [graph.constant(np.array(1, dtype=np.int64)), filled])
    axis, most = (graph.constant(np.array(each, dtype=np.int64)) for each in (1, 1))
    seen = graph.node("CumSum", [filled, axis])
    return graph.node("Cast", [graph.node("LessOrEqual", [seen, most])], to=TensorProto.INT64)
