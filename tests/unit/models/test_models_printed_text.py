"""The recipes of the models that read printed text, on tiny networks with known answers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sightline_models.errors import ModelError
from sightline_models.offered import SETS, TEXT_DETECTOR, TEXT_READER, by_name, chosen, printed_text_model
from sightline_models.onnx_runtime import onnxruntime
from sightline_models.printed_text import (
    LINE_HEIGHT,
    LINE_WIDTH,
    SIZE,
    STEPS,
    compile_text_detector,
    compile_text_reader,
)


def network(nodes: Sequence[onnx.NodeProto], output: Sequence[Any], alphabet: str | None = None) -> bytes:
    """A network x [N,3,H,W] -> y of opset 12, as the ready files have it, with an alphabet in its metadata."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, list(output))
    shape = numpy_helper.from_array(np.array([0, 3, -1], np.int64), "shape")
    model = helper.make_model(
        helper.make_graph(list(nodes), "tiny", [x], [y], [shape]),
        opset_imports=[helper.make_opsetid("", 12)],
        ir_version=7,
    )
    if alphabet is not None:
        model.metadata_props.add(key="character", value=alphabet)
    return bytes(model.SerializeToString())


FIRST_CHANNEL = [
    helper.make_node("Split", ["x"], ["a", "b", "c"], axis=1),
    helper.make_node("Sigmoid", ["a"], ["y"]),
]
"""The first channel as a probability: the levels of blue, where the networks take BGR."""
CHANNELS_AS_CLASSES = [
    helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[LINE_HEIGHT, 8], strides=[LINE_HEIGHT, 8]),
    helper.make_node("Reshape", ["p", "shape"], ["r"]),
    helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
    helper.make_node("Softmax", ["t"], ["y"], axis=2),
]
"""At each of 40 positions the channel with the highest level: blue is the blank, green a letter, red the space."""


def answers(model: bytes, **inputs: Any) -> list[Any]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def test_the_text_detector_gives_levels_for_pixels_in_bgr() -> None:
    model = compile_text_detector(network(FIRST_CHANNEL, ["n", 1, "h", "w"]), {"name": "tiny"})
    images = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    images[1, 5, 7] = (0, 0, 255)
    (levels,) = answers(model, IMAGES=images)
    assert (levels.shape, levels.dtype) == ((2, SIZE, SIZE), np.uint8)
    # Levels of -1 and 1 through the sigmoid.
    assert (int(levels[1, 5, 7]), int(levels[1, 5, 8])) == (186, 69)


def test_the_text_reader_gives_code_points_and_probabilities() -> None:
    model = compile_text_reader(network(CHANNELS_AS_CLASSES, ["n", "t", 3], "ä\n"), {})
    lines = np.zeros((1, LINE_HEIGHT, LINE_WIDTH, 3), np.uint8)
    lines[0, :, :, 2] = 200
    lines[0, :, 8:16] = (0, 255, 0)
    lines[0, :, 16:24] = (255, 0, 0)
    characters, probabilities = answers(model, LINES=lines)
    assert (characters.dtype, probabilities.dtype) == (np.int32, np.float32)
    assert characters.shape == probabilities.shape == (1, STEPS)
    assert characters[0, :4].tolist() == [0, ord("ä"), ord(" "), 0]
    assert 1 / 3 < probabilities.min() <= probabilities.max() < 1


@pytest.mark.parametrize(
    ("alphabet", "message"),
    [
        (None, "has no alphabet of single characters"),
        ("ab\nc", "has no alphabet of single characters"),
        ("a\nb", "has 3 classes and an alphabet for 4"),
    ],
)
def test_another_alphabet_is_refused(alphabet: str | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        compile_text_reader(network(CHANNELS_AS_CLASSES, ["n", "t", 3], alphabet), {})


def test_bytes_that_are_no_network_are_refused() -> None:
    with pytest.raises(ModelError, match="is not ONNX"):
        compile_text_detector(b"\xff" * 20, {})


def test_the_models_are_a_set_that_replaces_no_other_model() -> None:
    assert chosen(["printed-text"]) == list(SETS["printed-text"]) == [TEXT_DETECTOR, TEXT_READER]
    assert by_name("text_reader", TEXT_READER.name) is TEXT_READER
    assert [printed_text_model(each) for each in ("text_detector", "detector")] == [TEXT_DETECTOR, None]
    assert {model.licence for model in chosen(["printed-text"])} == {"Apache-2.0"}
