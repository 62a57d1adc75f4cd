"""The translation of Paddle networks to ONNX: Paddle's own answers, and what is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from sightline_models.errors import ModelError
from sightline_models.graph import Graph
from sightline_models.onnx_runtime import onnxruntime
from sightline_models.paddle import Network, Operator, read_network
from sightline_models.paddle_graph import _EMITTERS, leading_to, translate
from tests.support.paddle_files import files, sample

FILE = pytest.fixture(lambda: read_network(*files()), name="network")


def compiled(network: Network, wanted: list[str], ranks: tuple[int, ...]) -> bytes:
    graph = Graph("sample")
    image = graph.input("image", np.float32, ["batch", 3, 12, 12])
    for index, value in enumerate(translate(graph, network, {"image": image}, wanted)):
        graph.output(value, f"OUT{index}", np.float32, [f"d{index}{axis}" for axis in range(ranks[index])])
    return graph.serialize({})


def test_the_answers_are_those_of_paddle_with_any_batch(network: Network) -> None:
    known = sample()
    data = compiled(network, known["wanted"].tolist(), (3, 3))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for images in (slice(0, 2), slice(1, 2)):
        boxes, scores = session.run(None, {"image": known["images"][images]})
        np.testing.assert_allclose(boxes, known["boxes"][images], atol=2e-6)
        np.testing.assert_allclose(scores, known["scores"][images], atol=2e-6)


def test_the_sample_has_every_operator_that_is_known(network: Network) -> None:
    kinds = {operator.kind for operator in leading_to(network, sample()["wanted"].tolist())}
    assert set(_EMITTERS) == kinds - {"batch_norm"}


def test_norms_and_biases_become_part_of_the_convolution(network: Network) -> None:
    model = onnx.load_from_string(compiled(network, [network.last("hard_sigmoid").input("X")], (4,)))
    kinds = [node.op_type for node in model.graph.node]
    assert "BatchNormalization" not in kinds
    assert kinds[-2:] == ["Conv", "Identity"]


def test_only_what_leads_to_the_wanted_variables_is_translated(network: Network) -> None:
    first = network.operators[1].output("Output")
    assert [operator.kind for operator in leading_to(network, [first])] == ["conv2d"]
    model = onnx.load_from_string(compiled(network, [first], (4,)))
    assert [node.op_type for node in model.graph.node] == ["Conv", "Identity"]


def edited(network: Network, last: Operator, **changes: Any) -> Network:
    """The network with other facts of one operator; attributes are added to its own."""
    attributes = {**last.attributes, **changes.pop("attributes", {})}
    other = replace(last, attributes=attributes, **changes)
    return replace(network, operators=tuple(other if each is last else each for each in network.operators))


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("conv2d", {"dilations": (2, 2)}),
        ("conv2d", {"padding_algorithm": "SAME"}),
        ("conv2d", {"data_format": "NHWC"}),
        ("conv2d", {"strides": (1, 2)}),
        ("conv2d", {"paddings": (1, 1, 1, 1)}),
        ("batch_norm", {"is_test": False}),
        ("batch_norm", {"epsilon": 1}),
        ("elementwise_mul", {"axis": 0}),
        ("pool2d", {"pooling_type": "max"}),
        ("pool2d", {"ksize": (2, 2)}),
        ("pool2d", {"adaptive": False}),
        ("hard_swish", {"threshold": 5.0}),
        ("scale", {"bias_after_scale": False}),
        ("matmul_v2", {"trans_y": True}),
        ("split", {"sections": (1, 1)}),
        ("nearest_interp_v2", {"align_corners": True}),
        ("nearest_interp_v2", {"scale": ()}),
        ("softmax", {"axis": True}),
        ("hard_sigmoid", {"slope": "steep"}),
    ],
)
def test_an_attribute_that_is_not_known_is_refused(network: Network, kind: str, attributes: dict[str, Any]) -> None:
    (name,) = attributes
    with pytest.raises(ModelError, match=rf"paddle: {kind} has (the )?{name}"):
        compiled(edited(network, network.last(kind), attributes=attributes), sample()["wanted"].tolist(), (3, 3))


def test_an_operator_or_an_input_that_is_not_known_is_refused(network: Network) -> None:
    wanted = sample()["wanted"].tolist()
    with pytest.raises(ModelError, match="the operator dropout is not known"):
        compiled(edited(network, network.last("softmax"), kind="dropout"), wanted, (3, 3))
    inputs = {"X": network.last("reshape2").inputs["X"], "ShapeTensor": ("image",)}
    with pytest.raises(ModelError, match="the input ShapeTensor of reshape2 is not known"):
        compiled(edited(network, network.last("reshape2"), inputs=inputs), wanted, (3, 3))


def test_a_variable_that_nothing_computes_is_named(network: Network) -> None:
    with pytest.raises(ModelError, match="nothing computes the variable nowhere"):
        compiled(network, ["nowhere"], (4,))
    with pytest.raises(ModelError, match=r"conv2d_0.w_0 is not a parameter"):
        compiled(replace(network, parameters={}), sample()["wanted"].tolist(), (3, 3))


def test_a_wanted_convolution_is_not_folded(network: Network) -> None:
    norm = network.last("batch_norm")
    before, after = norm.input("X"), norm.output("Y")
    model = onnx.load_from_string(compiled(network, [after], (4,)))
    assert [node.op_type for node in model.graph.node] == ["Conv", "Identity"]
    with pytest.raises(ModelError, match="batch_norm is not known"):
        compiled(network, [before, after], (4, 4))


def test_an_operator_without_a_slot_is_refused() -> None:
    operator = Operator("relu", {}, {"Out": ("y",)}, {})
    with pytest.raises(ModelError, match="relu has 0 variables in X"):
        compiled(Network((operator,), {}), ["y"], (4,))
