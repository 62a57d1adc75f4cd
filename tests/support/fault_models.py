"""Tiny models that fail when the image asks for it, so that a test chooses the fault with the photo it sends.

They answer as the models of `tiny_models` do, unless a channel of an image is nearly full on average (250 of 255):

| model | channel | fault |
|---|---|---|
| detector | green | it takes long: `SLOW_STEPS` steps of a loop, more than a second of a core |
| detector | blue | ONNX Runtime raises |
| embedder | red | not a number in this image's embedding |
| embedder | green | embeddings of one number less, for the whole batch |
| embedder | blue | ONNX Runtime raises |
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from tests.support.tiny_models import EMBEDDER_DIMENSION, build_repository, detector_model, embedder_model

FULL = 250.0
SLOW_STEPS = 2_000_000
RED, GREEN, BLUE = range(3)


def build_fault_repository(folder: Path) -> Path:
    """Writes the repository of `build_repository` with the models of this file; returns `folder`."""
    build_repository(folder)
    onnx.save(failing_detector(), folder / "detector" / "1" / "model.onnx")
    onnx.save(failing_embedder(), folder / "embedder" / "1" / "model.onnx")
    return folder


def failing_detector() -> onnx.ModelProto:
    """The tiny detector with its faults before the scores."""
    model = detector_model()
    graph = model.graph
    rename_output(graph, "SCORES")
    flags(graph, "IMAGES")
    constants(graph, steps=np.array(SLOW_STEPS, np.float32), none=np.zeros(1, np.float32), true=np.array(True))
    graph.node.extend(
        [
            *any_of(GREEN, "slow"),
            *any_of(BLUE, "raises"),
            helper.make_node("Mul", ["slow", "steps"], ["trips"]),
            helper.make_node("Cast", ["trips"], ["trip_count"], to=TensorProto.INT64),
            helper.make_node("Loop", ["trip_count", "true", "none"], ["looped"], body=nothing_to_do()),
            *raise_if("raises", "none_or_error"),
            helper.make_node("Add", ["SCORES_right", "looped"], ["SCORES_late"]),
            helper.make_node("Add", ["SCORES_late", "none_or_error"], ["SCORES"]),
        ]
    )
    onnx.checker.check_model(model)
    return model


def failing_embedder() -> onnx.ModelProto:
    """The tiny embedder with its faults behind the embeddings."""
    model = embedder_model()
    graph = model.graph
    rename_output(graph, "EMBEDDINGS")
    flags(graph, "CROPS")
    constants(
        graph,
        start=np.zeros(1, np.int64),
        columns=np.ones(1, np.int64),
        whole=np.full(1, EMBEDDER_DIMENSION, np.float32),
        unit=np.array(1.0, np.float32),
        empty=np.array(0.0, np.float32),
    )
    graph.node.extend(
        [
            *any_of(GREEN, "short"),
            *any_of(BLUE, "raises"),
            *raise_if("raises", "none_or_error"),
            # 0 / (1 - flag) for each image: nothing, or not a number.
            helper.make_node("Gather", ["flags", "red"], ["red_flags"], axis=1),
            helper.make_node("Sub", ["unit", "red_flags"], ["sound"]),
            helper.make_node("Mul", ["red_flags", "empty"], ["zeros"]),
            helper.make_node("Div", ["zeros", "sound"], ["zero_or_nan"]),
            helper.make_node("Sub", ["whole", "short"], ["width"]),
            helper.make_node("Cast", ["width"], ["end"], to=TensorProto.INT64),
            helper.make_node("Slice", ["EMBEDDINGS_right", "start", "end", "columns"], ["cut"]),
            helper.make_node("Add", ["cut", "zero_or_nan"], ["cut_or_nan"]),
            helper.make_node("Add", ["cut_or_nan", "none_or_error"], ["EMBEDDINGS"]),
        ]
    )
    constants(graph, red=np.array([RED], np.int64))
    onnx.checker.check_model(model)
    return model


def rename_output(graph: GraphProto, name: str) -> None:
    """The node that made the output `name` makes `NAME_right` instead."""
    for node in graph.node:
        node.output[:] = [f"{name}_right" if made == name else made for made in node.output]
        node.input[:] = [f"{name}_right" if used == name else used for used in node.input]


def flags(graph: GraphProto, pictures: str) -> None:
    """`flags` float32 [B,3]: 1 for each channel of an image that is nearly full on average."""
    constants(graph, nearly_full=np.array(FULL, np.float32))
    graph.node.extend(
        [
            helper.make_node("Cast", [pictures], ["all_pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["all_pixels"], ["channel_means"], axes=[1, 2], keepdims=0),
            helper.make_node("Div", ["channel_means", "nearly_full"], ["fullness"]),
            helper.make_node("Floor", ["fullness"], ["flags"]),
            helper.make_node("ReduceMax", ["flags"], ["any_flags"], axes=[0], keepdims=0),
        ]
    )


def any_of(channel: int, name: str) -> list[NodeProto]:
    """`name` float32 [1]: 1 when `channel` is full in any image of the batch."""
    index = numpy_helper.from_array(np.array([channel], np.int64))
    return [
        helper.make_node("Constant", [], [f"{name}_channel"], value=index),
        helper.make_node("Gather", ["any_flags", f"{name}_channel"], [name], axis=0),
    ]


def raise_if(flag: str, name: str) -> list[NodeProto]:
    """`name` float32 [1]: 0, or an index out of range when `flag` is 1."""
    one_zero = numpy_helper.from_array(np.zeros(1, np.float32))
    return [
        helper.make_node("Constant", [], [f"{name}_data"], value=one_zero),
        helper.make_node("Cast", [flag], [f"{name}_index"], to=TensorProto.INT64),
        helper.make_node("Gather", [f"{name}_data", f"{name}_index"], [name], axis=0),
    ]


def nothing_to_do() -> GraphProto:
    """The body of a loop that only counts: float32 [1] in, the same out."""
    scalar: tuple[int, list[int]] = (TensorProto.INT64, [])
    state = (TensorProto.FLOAT, [1])
    return helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["goes_on_still"]),
            helper.make_node("Identity", ["state"], ["state_still"]),
        ],
        "step",
        [
            helper.make_tensor_value_info("step_number", *scalar),
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", *state),
        ],
        [
            helper.make_tensor_value_info("goes_on_still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_still", *state),
        ],
    )


def constants(graph: GraphProto, **values: NDArray[np.generic]) -> None:
    """Adds weights to the graph."""
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
