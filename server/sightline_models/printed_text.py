"""Recipes of the two models that read printed text: PP-OCRv4 detection and recognition, from ready ONNX files.

Place in the flow: ONNX file of the wheel -> file of the contract. The one rule: nodes are added before and after; the
networks themselves stay as they are. They take pixels as BGR in -1..1, so the channels are swapped inside.

Method: Du and others, "PP-OCR", arXiv:2009.09941; Liao and others, "Real-time scene text detection with differentiable
binarization", arXiv:1911.08947; Graves and others, "Connectionist temporal classification", 2006.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError

from sightline_models.adoption import Normalization
from sightline_models.errors import ModelError
from sightline_models.graph import Graph
from sightline_models.pixels import float_pixels, normalized_pixels

SIZE = 640
"""Height and width of an image in which text is found, pixels; a multiple of 32."""
LINE_HEIGHT, LINE_WIDTH = 48, 320
"""Size of the image of a line of text, pixels."""
STEPS = LINE_WIDTH // 8
"""Positions of a line at which the reader names a character."""
NO_CHARACTER = 0
"""The code of a position that names no character: the blank of CTC."""
_CHARACTERS = "character"
"""Key of the reader's alphabet in the file's metadata: a character a line."""
_HALF = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_UINT8 = onnx.TensorProto.UINT8


def compile_text_detector(network: bytes, metadata: Mapping[str, str]) -> bytes:
    """Wraps the network that finds text.

    The graph: IMAGES uint8 [batch, 640, 640, 3] RGB -> TEXT uint8 [batch, 640, 640], the probability of each pixel to
    be inside a line of text, 255 for 1.

    Raises:
        ModelError: a file of another network.
    """
    model = _read(network)
    graph, value = _wrapped("text-detector", model, "IMAGES", SIZE, SIZE)
    levels = graph.node("Mul", [value, graph.constant(np.array(255, dtype=np.float32))])
    rounded = graph.node("Add", [levels, graph.constant(np.array(0.5, dtype=np.float32))])
    flat = _reshaped(graph, graph.node("Cast", [rounded], to=_UINT8), (-1, SIZE, SIZE))
    graph.output(flat, "TEXT", np.uint8, ["batch", SIZE, SIZE])
    return graph.serialize(metadata)


def compile_text_reader(network: bytes, metadata: Mapping[str, str]) -> bytes:
    """Wraps the network that reads a line of text.

    The graph: LINES uint8 [batch, 48, 320, 3] RGB -> CHARACTERS int32 [batch, 40], the Unicode code point of the best
    character at each position, 0 for none; PROBABILITIES float32 [batch, 40] of these. The alphabet is inside, so that
    no reader of the answer needs it.

    Raises:
        ModelError: a file of another network.
    """
    model = _read(network)
    codes = code_points(model)
    graph, value = _wrapped("text-reader", model, "LINES", LINE_HEIGHT, LINE_WIDTH)
    best = graph.node("ArgMax", [value], axis=2, keepdims=0)
    characters = graph.node("Gather", [graph.constant(codes), best], axis=0)
    probabilities = graph.reduce("ReduceMax", value, [2])
    for name, found, dtype in (("CHARACTERS", characters, np.int32), ("PROBABILITIES", probabilities, np.float32)):
        graph.output(_reshaped(graph, found, (-1, STEPS)), name, dtype, ["batch", STEPS])
    return graph.serialize(metadata)


def code_points(model: onnx.ModelProto) -> npt.NDArray[np.int32]:
    """The code point of each class of the reader: `NO_CHARACTER`, the alphabet in the file's metadata, and a space.

    Raises:
        ModelError: no alphabet, an entry that is not one character, or another number of classes.
    """
    texts = [each.value for each in model.metadata_props if each.key == _CHARACTERS]
    alphabet = texts[0].splitlines() if texts else []
    if not alphabet or any(len(each) != 1 for each in alphabet):
        raise ModelError("the text reader's file has no alphabet of single characters in its metadata; another network")
    codes = np.array([NO_CHARACTER, *map(ord, alphabet), ord(" ")], dtype=np.int32)
    classes = model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    if classes not in (0, len(codes)):
        raise ModelError(f"the text reader has {classes} classes and an alphabet for {len(codes)}; another network")
    return codes


def _read(network: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(network)
    except DecodeError as error:
        raise ModelError("a text model's file is not ONNX; run `sightline models pull printed-text` again") from error
    if len(model.graph.output) != 1:
        raise ModelError(f"a text model must have one output, has {len(model.graph.output)}; another network")
    return model


def _wrapped(name: str, model: onnx.ModelProto, pixels: str, height: int, width: int) -> tuple[Graph, str]:
    """A graph from uint8 pixels to the network's only output, and the value that holds it."""
    opset = next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    graph = Graph(name, opset=opset, ir_version=model.ir_version)
    images = graph.input(pixels, np.uint8, ["batch", height, width, 3])
    numbers = normalized_pixels(graph, float_pixels(graph, images), _HALF)
    swapped = graph.node("Gather", [numbers, graph.constant(np.array([2, 1, 0], dtype=np.int64))], axis=1)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [each.name for each in model.graph.input if each.name not in weights]
    if len(inputs) != 1:
        raise ModelError(f"a text model must have one input, has {len(inputs)}; another network")
    (value,) = graph.include(model, {inputs[0]: swapped}, [model.graph.output[0].name])
    return graph, value


def _reshaped(graph: Graph, value: str, shape: tuple[int, ...]) -> str:
    return graph.node("Reshape", [value, graph.constant(np.array(shape, dtype=np.int64))])
