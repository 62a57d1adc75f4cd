"""Makes `tests/data/paddle_sample.npz`: a small Paddle inference model with random weights, and Paddle's own answers.

Run once when the Paddle reader learns an operator, never in tests, with paddlepaddle==2.6.2 and numpy<2:

    python tests/congruence/paddle_sample.py

The one rule: the network has every operator that `sightline_models.paddle_graph` translates, and nothing of that module
is used here.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

OUTPUT = Path(__file__).resolve().parents[1] / "data" / "paddle_sample.npz"
SIZE = 12


def sample(image: Any) -> tuple[Any, Any]:
    """Adds the network to Paddle's current program: [B, 3, 12, 12] -> boxes [B, 36, 4] and scores [B, 2, 45]."""
    import paddle
    from paddle import nn
    from paddle.nn import functional

    x = functional.hardswish(nn.BatchNorm2D(8)(nn.Conv2D(3, 8, 3, stride=2, padding=1, bias_attr=False)(image)))
    y = functional.relu(nn.Conv2D(8, 8, 5, padding=2, groups=8)(x))
    gate = functional.relu(nn.Conv2D(8, 4, 1)(functional.adaptive_avg_pool2d(y, 1)))
    gate = paddle.static.nn.conv2d(gate, 8, 1)  # adds its bias as the programs of older versions do
    y = y * functional.hardsigmoid(gate) + y * functional.sigmoid(gate)
    x = functional.relu(nn.Conv2D(8, 8, 1, bias_attr=False)(x)) + y
    small = nn.Conv2D(8, 8, 3, stride=2, padding=1)(x)
    large = functional.interpolate(small, scale_factor=2, mode="nearest")
    rows = nn.Conv2D(16, 16, 1)(paddle.concat([large, x], axis=1)).transpose([0, 2, 3, 1]).reshape([-1, 4])
    rows = functional.softmax(rows, axis=1).matmul(paddle.create_parameter([4, 1], "float32"))
    near, far = paddle.split(rows.reshape([-1, 36, 4]), 2, axis=2)
    classes = nn.Conv2D(8, 2, 1)
    scores = [paddle.sqrt(functional.sigmoid(classes(m)) + 1e-9) for m in (x, small)]
    flat = [score.reshape([-1, 2, cells]) for score, cells in zip(scores, (36, 9), strict=True)]
    return paddle.concat([near * -1.5, far], axis=-1), paddle.concat(flat, axis=-1)


def randomize(program: Any, scope: Any) -> None:
    """Gives every stored variable random values; variances are positive."""
    import paddle

    random = np.random.default_rng(7)
    for variable in sorted((v for v in program.list_vars() if v.persistable), key=lambda v: v.name):
        values = random.normal(0, 0.5, variable.shape)
        values = np.abs(values) + 0.5 if variable.name.endswith("w_2") else values
        scope.find_var(variable.name).get_tensor().set(values.astype(np.float32), paddle.CPUPlace())


def main() -> None:
    import paddle

    paddle.enable_static()
    images = np.random.default_rng(1).normal(size=(2, 3, SIZE, SIZE)).astype(np.float32)
    executor = paddle.static.Executor(paddle.CPUPlace())
    image = paddle.static.data("image", [None, 3, SIZE, SIZE], "float32")
    outputs = sample(image)
    program = paddle.static.default_main_program().clone(for_test=True)
    executor.run(paddle.static.default_startup_program())
    randomize(program, paddle.static.global_scope())
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder) / "sample")
        paddle.static.save_inference_model(prefix, [image], list(outputs), executor, program=program)
        stored, _, fetches = paddle.static.load_inference_model(prefix, executor)
        parameters = Path(prefix + ".pdiparams").read_bytes()
    boxes, scores = executor.run(stored, feed={"image": images}, fetch_list=fetches)
    for operator in stored.global_block().ops:
        operator._remove_attr("op_callstack")  # paths of this machine
    # What is fetched is a copy by an operator `scale` that changes nothing.
    wanted = np.array([fetch.name for fetch in fetches])
    OUTPUT.parent.mkdir(exist_ok=True)
    texts = [np.frombuffer(data, np.uint8) for data in (stored.desc.serialize_to_string(), parameters)]
    arrays = {"images": images, "boxes": boxes, "scores": scores, "wanted": wanted}
    np.savez_compressed(OUTPUT, program=texts[0], parameters=texts[1], **arrays)


if __name__ == "__main__":
    main()
