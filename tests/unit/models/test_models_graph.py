"""The graph writer: folded batch norms, fixed formats, fixed bytes."""

import numpy as np
import onnx
import pytest

from sightline_models.graph import IR_VERSION, OPSET, Graph, fold_batch_norm
from sightline_models.onnx_runtime import onnxruntime


def sample(metadata: dict[str, str]) -> bytes:
    graph = Graph("sample")
    x = graph.input("X", np.uint8, ["batch", 2])
    x = graph.node("Add", [graph.node("Cast", [x], to=1), graph.constant(np.array([1, 2], dtype=np.float32))])
    graph.output(x, "Y", np.float32, ["batch", 2])
    return graph.serialize(metadata)


def test_a_folded_batch_norm_equals_the_two_steps() -> None:
    random = np.random.default_rng(7)
    weight = random.normal(size=(4, 3, 1, 1)).astype(np.float32)
    scale, shift, mean = (random.normal(size=4).astype(np.float32) for _ in range(3))
    variance = random.uniform(0.1, 2, size=4).astype(np.float32)
    x = random.normal(size=3)
    folded, bias = fold_batch_norm(weight, scale=scale, shift=shift, mean=mean, variance=variance, epsilon=1e-3)
    expected = (weight[:, :, 0, 0] @ x - mean) / np.sqrt(variance + 1e-3) * scale + shift
    np.testing.assert_allclose(folded[:, :, 0, 0] @ x + bias, expected, rtol=1e-5)
    assert folded.dtype == bias.dtype == np.float32


def test_the_same_calls_give_the_same_bytes() -> None:
    assert sample({"b": "2", "a": "1"}) == sample({"a": "1", "b": "2"})
    assert sample({"a": "1"}) != sample({"a": "2"})


def test_the_file_states_versions_that_the_engine_reads() -> None:
    model = onnx.load_from_string(sample({"name": "sample"}))
    assert (model.ir_version, model.opset_import[0].version) == (IR_VERSION, OPSET) == (8, 17)
    assert {prop.key: prop.value for prop in model.metadata_props} == {"name": "sample"}


def test_the_file_runs_with_any_batch() -> None:
    session = onnxruntime.InferenceSession(sample({}), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        (y,) = session.run(None, {"X": np.ones((batch, 2), dtype=np.uint8)})
        assert y.tolist() == [[2, 3]] * batch


def test_an_invalid_graph_is_never_written() -> None:
    graph = Graph("broken")
    graph.output("nowhere", "Y", np.float32, [1])
    with pytest.raises(onnx.checker.ValidationError):
        graph.serialize({})
