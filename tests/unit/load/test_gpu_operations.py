"""Counting operations and bytes: by hand on small graphs, and against the models' published figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from load_tests.gpu.cuda import peak
from load_tests.gpu.operations import Work, count, count_model

MODELS = Path(__file__).parents[3] / "model_repository"

Shape = Sequence[str | int | None]


def model(
    nodes: list[onnx.NodeProto], weights: dict[str, tuple[int, ...]], given: Shape, made: Shape
) -> onnx.ModelProto:
    """A graph from X to Y, float32, with the batch left open."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, made)],
        [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_a_convolution_is_counted_by_its_outputs_and_its_window() -> None:
    nodes = [helper.make_node("Conv", ["X", "W"], ["C"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["C"], ["Y"])]
    work = count_model(model(nodes, {"W": (4, 3, 3, 3)}, ["batch", 3, 8, 8], ["batch", 4, 8, 8]))
    assert work == Work(2.0 * 4 * 64 * 27, 4 * 64, 4 * 4 * 27, 4 * (3 * 64 + 4 * 64))


def test_a_grouped_convolution_sees_only_its_group() -> None:
    nodes = [helper.make_node("Conv", ["X", "W"], ["Y"], pads=[1, 1, 1, 1], group=8)]
    work = count_model(model(nodes, {"W": (8, 1, 3, 3)}, ["batch", 8, 4, 4], ["batch", 8, 4, 4]))
    assert work.ops == 2.0 * 8 * 16 * 9


@pytest.mark.parametrize(("kind", "options"), [("MatMul", {}), ("Gemm", {"transB": 1})])
def test_a_product_is_counted_by_its_inner_length(kind: str, options: dict[str, Any]) -> None:
    weight = (5, 7) if not options else (7, 5)
    work = count_model(model([helper.make_node(kind, ["X", "W"], ["Y"], **options)], {"W": weight}, [3, 5], [3, 7]))
    assert work.product_ops == 2.0 * 3 * 5 * 7


def test_a_product_of_unknown_shape_is_an_error_and_not_zero() -> None:
    nodes = [helper.make_node("MatMul", ["X", "X"], ["Y"])]
    with pytest.raises(ValueError, match="not known"):
        count_model(model(nodes, {}, [1, "rows", "rows"], [1, "rows", "rows"]))


@pytest.mark.parametrize(("name", "gflop"), [("detector", 6.91), ("embedder", 1.74)])
def test_the_default_models_have_their_published_work(name: str, gflop: float) -> None:
    """YOLOv4-tiny at 416: 6.91 BFLOPs (darknet); EfficientNet-Lite2: 869M multiply-adds (its authors)."""
    assert count(MODELS / name / "1" / "model.onnx").product_ops / 1e9 == pytest.approx(gflop, rel=0.02)


def test_the_floor_is_set_by_bytes_or_by_operations_whichever_takes_longer() -> None:
    work = Work(1e9, 0.0, 1e6, 1e3)
    assert work.floor_s(1, ops_per_s=1e15, bytes_per_s=1e9) == pytest.approx(1.001e-3)
    assert work.floor_s(64, ops_per_s=1e12, bytes_per_s=1e12) == pytest.approx(64e-3)


def test_the_peak_of_an_h100_is_its_datasheets() -> None:
    found = peak((9, 0), 132, 1.83e9)
    assert found.fp32 == pytest.approx(62e12, rel=0.02)
    assert found.fp16 == pytest.approx(990e12, rel=0.01)
    assert found.tf32 == pytest.approx(495e12, rel=0.01)
    assert peak((99, 0), 132, 1.83e9).fp32 is None
