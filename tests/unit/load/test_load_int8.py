"""The trial of int8: its recipes, its ranges, the library's bytes, and how answers are compared."""

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from load_tests.int8.__main__ import main, parsed
from load_tests.int8.comparing import difference
from load_tests.int8.quantizing import quantized
from load_tests.int8.ranges import Values, chosen_range, observe, open_model, rounded, slopes
from load_tests.int8.recipes import RECIPES, RangeChoice, Recipe, layers_of
from sightline_models.images import probes

CHANCE = np.random.default_rng(5)


def small_model() -> onnx.ModelProto:
    """Two convolutions with a LeakyRelu between them: `IMAGES` uint8 [B,16,16,3] -> `OUT` float32 [B,4,16,16]."""
    weights: dict[str, NDArray[np.float32]] = {
        "first": (CHANCE.normal(size=(8, 3, 3, 3)) / 255).astype(np.float32),
        "second": CHANCE.normal(size=(4, 8, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["IMAGES"], ["moved"], "move", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["moved"], ["pixels"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "first"], ["one"], "conv_one", pads=[1, 1, 1, 1]),
        helper.make_node("LeakyRelu", ["one"], ["bent"], "bend", alpha=0.1),
        helper.make_node("Conv", ["bent", "second"], ["OUT"], "conv_two"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("IMAGES", TensorProto.UINT8, ["B", 16, 16, 3])],
        [helper.make_tensor_value_info("OUT", TensorProto.FLOAT, ["B", 4, 16, 16])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_layers_without_an_activation_are_heads() -> None:
    layers = layers_of(small_model().graph.node)
    assert (layers.body, layers.heads) == (("conv_one",), ("conv_two",))
    assert Recipe("all", heads=True).nodes(layers) == ("conv_one", "conv_two")
    assert Recipe("first", positions=(0,)).nodes(layers) == ("conv_one",)


def test_a_model_without_activations_is_refused() -> None:
    with pytest.raises(ValueError, match="no convolution with an activation"):
        layers_of([])


def test_recipes_have_names_of_their_own() -> None:
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)


def test_ranges_are_narrower_where_values_are_rare() -> None:
    values = np.append(CHANCE.normal(size=50_000), [-40, 40]).astype(np.float32)
    low, high = chosen_range(values, RangeChoice.EXTREMES)
    assert (low, high) == (-40, 40)
    for choice in (RangeChoice.PERCENTILE, RangeChoice.LEAST_SQUARES):
        lower, upper = chosen_range(values, choice)
        assert low < lower < 0 < upper < high


def test_least_squares_cuts_what_the_activation_makes_small() -> None:
    values = CHANCE.uniform(-10, 10, 20_000).astype(np.float32)
    plain, bent = (chosen_range(values, RangeChoice.LEAST_SQUARES, slope) for slope in (1.0, 0.0))
    assert plain[0] == pytest.approx(-10, abs=0.01)
    assert bent[0] > -2


def test_a_tensor_of_zeros_has_no_range() -> None:
    assert chosen_range(np.zeros(5, np.float32), RangeChoice.LEAST_SQUARES) == (0, 0)


def test_rounding_stays_within_half_a_step() -> None:
    values: Values = np.linspace(-1, 3, 1000, dtype=np.float32)
    assert np.abs(rounded(values, -1, 3) - values).max() <= 4 / 255 * 1.01


def test_the_same_images_give_the_same_bytes_and_nearly_the_same_answers() -> None:
    model = small_model()
    data, below = model.SerializeToString(), slopes(list(model.graph.node))
    images = list(probes(16))
    made = []
    for _ in range(2):
        observed = observe(onnx.load_from_string(data), images)
        made.append(quantized(data, Recipe("body"), ("conv_one",), observed, below))
    assert made[0] == made[1]
    kinds = [node.op_type for node in onnx.load_from_string(made[0]).graph.node]
    assert {"QuantizeLinear", "DequantizeLinear"} <= set(kinds)
    feed = {"IMAGES": np.stack(images)}
    float32, int8 = (open_model(each).run(None, feed)[0] for each in (data, made[0]))
    assert 0 < np.abs(float32 - int8).max() < 0.05 * np.abs(float32).max()
    assert logging.root.manager.disable == logging.NOTSET


def boxes(*scores: float) -> dict[str, NDArray[np.generic]]:
    """One image with a box of label 1 for each score, side by side."""
    corners = [[0.2 * at, 0.1, 0.2 * at + 0.15, 0.5] for at in range(len(scores))]
    return {
        "BOXES": np.array([corners], np.float32),
        "SCORES": np.array([scores], np.float32),
        "LABELS": np.ones((1, len(scores)), np.int32),
    }


def test_a_changed_score_is_not_the_same_answer() -> None:
    found = difference(boxes(0.9, 0.6, 0.1), boxes(0.9, 0.5, 0.2))
    assert (found.kept, found.clear, found.back, found.shown, found.lost, found.same) == (1, 2, 1, 2, 0, False)
    assert found.score_changes == pytest.approx((0, -0.1), abs=1e-6)
    assert "1 of 2 found again" in found.line()
    assert difference(boxes(0.9), boxes(0.9)).same


def test_a_box_of_another_label_is_lost() -> None:
    other = boxes(0.9) | {"LABELS": np.zeros((1, 1), np.int32)}
    assert difference(boxes(0.9), other).lost == 1


def test_no_clear_box_does_not_pass() -> None:
    assert not difference(boxes(0.1), boxes(0.1)).same


def test_help_names_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert all(recipe.name in told for recipe in RECIPES)


def test_a_file_needs_one_recipe(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        parsed(["--out", str(tmp_path / "model.onnx")])
    assert [each.name for each in parsed(["--only", "body", "--out", "x"]).recipes] == ["body"]
