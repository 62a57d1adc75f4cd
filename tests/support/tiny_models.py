"""Tiny ONNX models that keep the models' contract, so that tests of the real Triton start in seconds.

`build_repository(folder)` writes a repository with a detector (64x64, 8 answers) and an embedder (32x32, 8-d). What
they answer is a plain function of the pixels, given here in numpy as well (`expected_detections`,
`expected_embeddings`).

The detector marks a 2x4 grid of cells of the 64x64 image: cell n is [row n//4, column n%4], 32 rows x 16 columns. Its
score is the mean of the cell's red channel / 255, its box is the cell inset by 10 %, its label is n % 3.
The embedder averages each 8x16 patch (4 rows x 2 columns of patches, mean over the three channels), adds 1, and
normalises to length 1.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

DETECTOR_SIZE = 64
DETECTOR_CELLS = 8
EMBEDDER_SIZE = 32
EMBEDDER_DIMENSION = 8
LABELS = ("chair", "vase", "person")
CONFIG = """\
backend: "onnxruntime"
max_batch_size: {max_batch_size}
instance_group {{ count: 1 kind: KIND_AUTO }}
dynamic_batching {{ max_queue_delay_microseconds: 0 }}
"""


def build_repository(folder: Path) -> Path:
    """Writes `folder/{detector,embedder}` with configuration and version 1; returns `folder`."""
    detector_facts = {"labels": list(LABELS), "preprocess": {"resize": "letterbox", "fill": [128, 128, 128]}}
    embedder_facts = {"preprocess": {"resize": "squash"}}
    write_model(folder, "detector", detector_model(), detector_facts, max_batch_size=16)
    write_model(folder, "embedder", embedder_model(), embedder_facts, max_batch_size=64)
    return folder


def write_model(
    folder: Path, name: str, model: onnx.ModelProto, facts: Mapping[str, object], *, max_batch_size: int
) -> None:
    """Writes one model folder: config.pbtxt with `facts` as JSON parameters, and `1/model.onnx`."""
    version = folder / name / "1"
    version.mkdir(parents=True, exist_ok=True)
    config = CONFIG.format(max_batch_size=max_batch_size)
    for key, value in facts.items():
        config += f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(json.dumps(value))} }} }}\n'
    config += 'parameters { key: "intra_op_thread_count" value { string_value: "0" } }\n'
    (folder / name / "config.pbtxt").write_text(config)
    onnx.save(model, version / "model.onnx")


def declare_models(folder: Path) -> None:
    """Writes a `model.json` for each model of a repository, as an operator does."""
    for path in folder.glob("*/1/model.onnx"):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        facts = {"name": f"tiny {path.parents[1].name}", "version": "1", "sha256": sha256}
        path.with_suffix(".json").write_text(json.dumps(facts))


def detector_model() -> onnx.ModelProto:
    """IMAGES uint8 [B,64,64,3] -> BOXES [B,8,4], SCORES [B,8], LABELS int32 [B,8], in the order of the cells."""
    nodes = [
        helper.make_node("Cast", ["IMAGES"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["pixels", "zero", "one", "last_axis"], ["red"]),
        helper.make_node("Reshape", ["red", "cell_shape"], ["cells"]),
        helper.make_node("ReduceMean", ["cells"], ["means"], axes=[2, 4], keepdims=0),
        helper.make_node("Reshape", ["means", "flat_shape"], ["flat"]),
        helper.make_node("Div", ["flat", "full"], ["SCORES"]),
        helper.make_node("Mul", ["SCORES", "nothing"], ["zeros"]),
        helper.make_node("Unsqueeze", ["zeros", "last_of_two"], ["zeros_3d"]),
        helper.make_node("Add", ["zeros_3d", "cell_boxes"], ["BOXES"]),
        helper.make_node("Cast", ["zeros"], ["zero_labels"], to=TensorProto.INT32),
        helper.make_node("Add", ["zero_labels", "cell_labels"], ["LABELS"]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "last_axis": np.array([3], np.int64),
        "last_of_two": np.array([2], np.int64),
        "cell_shape": np.array([-1, 2, 32, 4, 16], np.int64),
        "flat_shape": np.array([-1, DETECTOR_CELLS], np.int64),
        "full": np.array(255.0, np.float32),
        "nothing": np.array(0.0, np.float32),
        "cell_boxes": cell_boxes()[None],
        "cell_labels": (np.arange(DETECTOR_CELLS, dtype=np.int32) % 3)[None],
    }
    outputs = [
        helper.make_tensor_value_info("BOXES", TensorProto.FLOAT, ["B", DETECTOR_CELLS, 4]),
        helper.make_tensor_value_info("SCORES", TensorProto.FLOAT, ["B", DETECTOR_CELLS]),
        helper.make_tensor_value_info("LABELS", TensorProto.INT32, ["B", DETECTOR_CELLS]),
    ]
    picture = helper.make_tensor_value_info("IMAGES", TensorProto.UINT8, ["B", DETECTOR_SIZE, DETECTOR_SIZE, 3])
    return make_model("detector", nodes, [picture], outputs, constants)


def embedder_model() -> onnx.ModelProto:
    """CROPS uint8 [B,32,32,3] -> EMBEDDINGS float32 [B,8], L2-normalised."""
    nodes = [
        helper.make_node("Cast", ["CROPS"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "patch_shape"], ["patches"]),
        helper.make_node("ReduceMean", ["patches"], ["means"], axes=[2, 4, 5], keepdims=0),
        helper.make_node("Reshape", ["means", "flat_shape"], ["flat"]),
        helper.make_node("Add", ["flat", "one"], ["positive"]),
        helper.make_node("LpNormalization", ["positive"], ["EMBEDDINGS"], axis=1, p=2),
    ]
    constants: dict[str, NDArray[Any]] = {
        "patch_shape": np.array([-1, 4, 8, 2, 16, 3], np.int64),
        "flat_shape": np.array([-1, EMBEDDER_DIMENSION], np.int64),
        "one": np.array(1.0, np.float32),
    }
    crops = helper.make_tensor_value_info("CROPS", TensorProto.UINT8, ["B", EMBEDDER_SIZE, EMBEDDER_SIZE, 3])
    output = helper.make_tensor_value_info("EMBEDDINGS", TensorProto.FLOAT, ["B", EMBEDDER_DIMENSION])
    return make_model("embedder", nodes, [crops], [output], constants)


def make_model(
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, NDArray[np.generic]],
) -> onnx.ModelProto:
    """A checked model of opset 13."""
    weights = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def cell_boxes() -> NDArray[np.float32]:
    """The boxes [8,4] of the cells, xyxy in 0..1, inset by 10 % of a cell."""
    row, column = np.divmod(np.arange(DETECTOR_CELLS), 4)
    left, top = column / 4, row / 2
    inset_x, inset_y = 0.1 / 4, 0.1 / 2
    edges = [left + inset_x, top + inset_y, left + 1 / 4 - inset_x, top + 1 / 2 - inset_y]
    return np.stack(edges, 1).astype(np.float32)


def expected_detections(
    picture: NDArray[np.uint8],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    """Boxes [8,4], scores [8] and labels [8] that the tiny detector gives for uint8 [64,64,3]."""
    cells = picture[:, :, 0].reshape(2, 32, 4, 16).astype(np.float32)
    scores = cells.mean(axis=(1, 3)).reshape(DETECTOR_CELLS) / np.float32(255)
    return cell_boxes(), scores, np.arange(DETECTOR_CELLS, dtype=np.int32) % 3


def expected_embeddings(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Embeddings [B,8] that the tiny embedder gives for uint8 [B,32,32,3]."""
    patches = crops.reshape(-1, 4, 8, 2, 16, 3).astype(np.float32)
    raw = patches.mean(axis=(2, 4, 5)).reshape(-1, EMBEDDER_DIMENSION) + np.float32(1)
    normalised: NDArray[np.float32] = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return normalised


def echo_detector(size: int) -> onnx.ModelProto:
    """IMAGES uint8 [B,size,size,3] -> BOXES: all pixels / 255 in order, four a box; SCORES: their means; LABELS: 0."""
    boxes = size * size * 3 // 4
    nodes = [
        helper.make_node("Cast", ["IMAGES"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "box_shape"], ["levels"]),
        helper.make_node("Div", ["levels", "full"], ["BOXES"]),
        helper.make_node("ReduceMean", ["BOXES"], ["SCORES"], axes=[2], keepdims=0),
        helper.make_node("Mul", ["SCORES", "nothing"], ["zeros"]),
        helper.make_node("Cast", ["zeros"], ["LABELS"], to=TensorProto.INT32),
    ]
    constants: dict[str, NDArray[Any]] = {
        "box_shape": np.array([-1, boxes, 4], np.int64),
        "full": np.array(255.0, np.float32),
        "nothing": np.array(0.0, np.float32),
    }
    outputs = [
        helper.make_tensor_value_info("BOXES", TensorProto.FLOAT, ["B", boxes, 4]),
        helper.make_tensor_value_info("SCORES", TensorProto.FLOAT, ["B", boxes]),
        helper.make_tensor_value_info("LABELS", TensorProto.INT32, ["B", boxes]),
    ]
    images = helper.make_tensor_value_info("IMAGES", TensorProto.UINT8, ["B", size, size, 3])
    return make_model("echo_detector", nodes, [images], outputs, constants)


def echo_embedder(size: int) -> onnx.ModelProto:
    """CROPS uint8 [B,size,size,3] -> EMBEDDINGS: all pixels + 1 in their order, L2-normalised."""
    dimension = size * size * 3
    nodes = [
        helper.make_node("Cast", ["CROPS"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "flat_shape"], ["flat"]),
        helper.make_node("Add", ["flat", "one"], ["positive"]),
        helper.make_node("LpNormalization", ["positive"], ["EMBEDDINGS"], axis=1, p=2),
    ]
    constants: dict[str, NDArray[Any]] = {
        "flat_shape": np.array([-1, dimension], np.int64),
        "one": np.array(1.0, np.float32),
    }
    crops = helper.make_tensor_value_info("CROPS", TensorProto.UINT8, ["B", size, size, 3])
    output = helper.make_tensor_value_info("EMBEDDINGS", TensorProto.FLOAT, ["B", dimension])
    return make_model("echo_embedder", nodes, [crops], [output], constants)


def weigher_model(length: int) -> onnx.ModelProto:
    """A model of another role: TOKENS int64 [B,length], WEIGHTS float32 [B,length] -> TOTAL float32 [B,1]."""
    nodes = [
        helper.make_node("Cast", ["TOKENS"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "WEIGHTS"], ["products"]),
        helper.make_node("ReduceSum", ["products", "last"], ["TOTAL"], keepdims=1),
    ]
    inputs = [
        helper.make_tensor_value_info("TOKENS", TensorProto.INT64, ["B", length]),
        helper.make_tensor_value_info("WEIGHTS", TensorProto.FLOAT, ["B", length]),
    ]
    output = helper.make_tensor_value_info("TOTAL", TensorProto.FLOAT, ["B", 1])
    return make_model("weigher", nodes, inputs, [output], {"last": np.array([1], np.int64)})
