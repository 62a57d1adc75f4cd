"""`models adopt` of image towers: the wrapped file answers like the tower, and what cannot be wrapped is refused."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.external_data_helper import convert_model_to_external_data

from sightline_models.adoption import Normalization, parse_levels, parse_size
from sightline_models.embedders import embedder_folders
from sightline_models.errors import ModelError
from sightline_models.store import State, inspect_embedder
from sightline_server.triton.client import parse_config
from tests.support.adopted import adopt, embed
from tests.support.exported_models import MEAN, SIZE, WIDTH, Floats, images, tokens_of, tower, unit
from tests.support.tiny_models import build_repository, echo_embedder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return build_repository(tmp_path / "repository")


POOLED: dict[str, tuple[Sequence[str], Callable[[Floats], Floats]]] = {
    "pooled": (("--output", "pooled"), lambda tokens: np.tanh(tokens.mean(axis=1))),
    "cls": (("--output", "tokens", "--pool", "cls"), lambda tokens: tokens[:, 0]),
    "mean": (("--output", "tokens", "--pool", "mean"), lambda tokens: tokens.mean(axis=1)),
    "map": (("--output", "map", "--pool", "mean"), lambda tokens: tokens.mean(axis=1)),
}


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
@pytest.mark.parametrize("pooled", POOLED)
def test_the_wrapped_tower_answers_like_the_tower(repository: Path, opset: int, pooled: str) -> None:
    options, expected = POOLED[pooled]
    adopted = adopt(repository, tower(("map", "tokens", "pooled"), opset=opset), *options)
    assert (adopted.exit_code, adopted.stderr) == (0, "")
    assert "build a catalog with: --embedder embedder-mine" in adopted.stdout
    for count in (1, 3):
        crops = images(count, seed=count)
        np.testing.assert_allclose(embed(repository, crops), unit(expected(tokens_of(crops))), atol=1e-6)


def test_the_folder_is_that_of_an_added_embedder(repository: Path) -> None:
    preprocess = '{"resize": "shortest-edge + center-crop", "shortest_edge": 18, "resample": "bicubic"}'
    assert adopt(repository, tower(["pooled"]), "--preprocess", preprocess).exit_code == 0
    stored = inspect_embedder(repository, "embedder-mine")
    assert (stored.state, stored.name) == (State.CUSTOM, "mine")
    config = parse_config((repository / "embedder-mine" / "config.pbtxt").read_text())
    assert json.loads(config["parameters"]["preprocess"]["string_value"]) == json.loads(preprocess)
    metadata = {each.key: each.value for each in onnx.load(stored.path).metadata_props}
    assert (metadata["output"], metadata["pool"], metadata["mean"]) == ("pooled", "none", str(MEAN))
    assert len(metadata["adopted_from_sha256"]) == 64
    assert not list(repository.glob(".*"))


def test_other_levels_and_half_precision_are_kept(repository: Path) -> None:
    half = tower(["pooled"], element=TensorProto.FLOAT16)
    levels = ("--mean", "123,116,103", "--std", "58", "--scale", "1", "--resize", "letterbox")
    assert adopt(repository, half, *levels).exit_code == 0
    crops = images(3)
    expected = unit(np.tanh(tokens_of(crops, (123, 116, 103), (58, 58, 58), 1).mean(axis=1)))
    np.testing.assert_allclose(embed(repository, crops), expected, atol=4e-3)


def test_an_open_height_and_width_get_the_stated_size(repository: Path) -> None:
    open_size = tower(["pooled"], shape=("batch", "channels", "height", "width"))
    refused = adopt(repository, open_size)
    assert refused.exit_code == 1 and "such as --size 224" in refused.stderr
    assert adopt(repository, open_size, "--size", str(SIZE)).exit_code == 0
    crops = images(2)
    np.testing.assert_allclose(embed(repository, crops), unit(np.tanh(tokens_of(crops).mean(axis=1))), atol=1e-6)


def test_names_of_the_contract_inside_the_tower_do_no_harm(repository: Path) -> None:
    nodes = [helper.make_node("Identity", ["pooled"], ["EMBEDDINGS"]), helper.make_node("Neg", ["map"], ["CROPS"])]
    assert adopt(repository, tower(["EMBEDDINGS"], more=nodes)).exit_code == 0
    crops = images(2)
    np.testing.assert_allclose(embed(repository, crops), unit(np.tanh(tokens_of(crops).mean(axis=1))), atol=1e-6)


def test_graphs_inside_nodes_keep_what_they_refer_to(repository: Path) -> None:
    branches = {
        name: helper.make_graph(
            [helper.make_node(op, ["pooled", "weight_of_branches"], [f"{name}_out"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)],
        )
        for name, op in (("then", "Mul"), ("other", "Add"))
    }
    node = helper.make_node("If", ["yes"], ["out"], then_branch=branches["then"], else_branch=branches["other"])
    scale = np.arange(1, WIDTH + 1, dtype=np.float32)
    model = tower(["out"], more=[node], weights={"weight_of_branches": scale, "yes": np.array(True)})
    adopted = adopt(repository, model)
    assert adopted.exit_code == 0, adopted.stderr
    crops = images(2)
    np.testing.assert_allclose(
        embed(repository, crops), unit(np.tanh(tokens_of(crops).mean(axis=1)) * scale), atol=1e-6
    )


def fixed_inside() -> onnx.ModelProto:
    """A tower that declares a dynamic batch and has one of 1 in a Reshape."""
    node = helper.make_node("Reshape", ["pooled", "fixed"], ["out"])
    return tower(["out"], more=[node], weights={"fixed": np.array([1, WIDTH], np.int64)})


def trained_at(tokens: int) -> onnx.ModelProto:
    """A tower with an open size that has an embedding for each of so many positions."""
    node = helper.make_node("Add", ["tokens", "positions"], ["out"])
    weights = {"positions": np.ones((1, tokens, WIDTH), np.float32)}
    return tower(["out"], shape=("batch", 3, "height", "width"), more=[node], weights=weights)


def folded() -> onnx.ModelProto:
    """A tower that joins the vectors of all images."""
    node = helper.make_node("Reshape", ["pooled", "joined"], ["out"])
    return tower(["out"], more=[node], weights={"joined": np.array([1, -1], np.int64)})


def whole_numbers() -> onnx.ModelProto:
    model = tower(["out"], more=[helper.make_node("Cast", ["pooled"], ["out"], to=TensorProto.INT64)])
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    return model


TEXT = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", 16])
REFUSED: list[tuple[onnx.ModelProto | bytes, Sequence[str], str]] = [
    (b"no model", (), "is not an ONNX file"),
    (b"", (), "is not an ONNX file"),
    (tower(more_inputs=[TEXT]), (), "must have one input, the pixels, and has pixel_values, input_ids"),
    (tower(shape=(1, 3, SIZE, SIZE)), (), "a batch of 1 only; export it again with a dynamic first dimension"),
    (fixed_inside(), (), "fails for two images of 16 x 16, and not for one; export it again with a dynamic"),
    (trained_at(16), ("--size", "32"), "); state the size that it was trained with by --size"),
    (folded(), (), "has shape [1, 16] for two images; export it again with a dynamic"),
    (tower(shape=("batch", 3, "height", SIZE)), (), "any height and width; state those that it was trained with"),
    (tower(), ("--size", "32"), "--size 32x32 cannot change; leave --size out"),
    (tower(shape=("batch", 3, SIZE)), (), "has shape [batch, 3, 16]; expected [batch, 3, height, width]"),
    (
        tower(shape=("batch", SIZE, SIZE, 3)),
        (),
        "has shape [batch, 16, 16, 3]; expected [batch, 3, height, width]; export",
    ),
    (echo_embedder(4), (), "CROPS is uint8; expected float pixels [batch, 3, height, width]; a file that keeps"),
    (tower(opset=12), (), "has opset 12; export it again with opset 13 or newer"),
    (tower(), (), "has the outputs tokens, pooled; name one with --output"),
    (tower(), ("--output", "last"), "has no output 'last'; --output must be one of tokens, pooled"),
    (
        tower(["tokens"]),
        (),
        "--pool none does not fit output tokens, whose shape is [batch, 16, 8]; use --pool cls or --pool mean",
    ),
    (
        tower(["pooled"]),
        ("--pool", "cls"),
        "--pool cls does not fit output pooled, whose shape is [batch, 8]; use --pool none",
    ),
    (tower(["map"]), ("--pool", "cls"), "whose shape is [batch, 8, 4, 4]; use --pool mean"),
    (whole_numbers(), (), "output out is int64; expected float32 or float16"),
    (tower(["pooled"]), ("--mean", "123.7,116.3,103.5"), "mean 123.7 is above the largest pixel, which is 1"),
    (tower(["pooled"]), ("--mean", "a"), "--mean 'a' must be three numbers"),
    (tower(["pooled"]), ("--std", "0"), "scale and std must be above 0"),
    (tower(["pooled"]), ("--resize", "stretch"), "`resize` is 'stretch'"),
    (tower(["pooled"]), ("--resize", "squash", "--preprocess", "{}"), "leave --resize out"),
    (tower(["pooled"]), ("--name", "a/b"), "'a/b' cannot be a name"),
    (tower(["pooled"]), ("--name", "efficientnet-lite2-260"), "is the name of a model of this package"),
]


@pytest.mark.parametrize(("model", "options", "message"), REFUSED, ids=[each[2][:40] for each in REFUSED])
def test_what_cannot_be_wrapped_is_refused(
    repository: Path, model: onnx.ModelProto | bytes, options: Sequence[str], message: str
) -> None:
    refused = adopt(repository, model, *options)
    assert refused.exit_code == 1
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert embedder_folders(repository) == ()
    assert not list(repository.glob(".*"))


def test_weights_in_another_file_are_refused_with_the_command_that_joins_them(repository: Path) -> None:
    model = tower(["pooled"])
    convert_model_to_external_data(model, location="tower.onnx_data", size_threshold=0)
    onnx.save(model, repository.parent / "outside.onnx")
    refused = adopt(repository, (repository.parent / "outside.onnx").read_bytes())
    assert refused.exit_code == 1
    assert "keeps its weights in another file; join them first: python -c" in refused.stderr


@pytest.mark.parametrize("text", ["0", "224x", "x224", "12345", "-3", "2.5"])
def test_a_size_is_one_or_two_numbers(text: str) -> None:
    assert (parse_size("224"), parse_size("480x640")) == ((224, 224), (480, 640))
    with pytest.raises(ModelError, match="HEIGHTxWIDTH"):
        parse_size(text)


def test_levels_are_one_number_or_three() -> None:
    assert parse_levels("--std", "0.5") == (0.5, 0.5, 0.5)
    with pytest.raises(ModelError, match="--std '1,2' must be three numbers"):
        parse_levels("--std", "1,2")
    with pytest.raises(ModelError, match="finite"):
        Normalization((0.0, 0.0, float("nan")), (1.0, 1.0, 1.0))
