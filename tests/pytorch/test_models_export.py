"""`models export` on folders of tiny models: the repository that it leaves, and the models that it refuses."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import transformers
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from sightline_models.adoption import Normalization
from sightline_models.pytorch.modules import PixelModule
from sightline_models.store import State, inspect_embedder
from sightline_server.cli.models import app
from sightline_server.triton.client import parse_config
from tests.congruence.command_samples import FAMILIES, processor, save, square
from tests.congruence.exported_samples import HALF, Sample, samples
from tests.support.adopted import answers

VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
PROCESSOR = processor(HALF, 2, size=square(32))


@pytest.fixture(scope="session")
def networks() -> Mapping[str, Sample]:
    return {sample.name: sample for sample, _ in samples()}


def export(folder: Path | str, *options: str, role: str = "embedder") -> Result:
    return CliRunner().invoke(app, ["export", str(folder), "--role", role, *options])


def vit(folder: Path, facts: Mapping[str, Any] | None = PROCESSOR) -> Path:
    """A ViT that was saved without the layer of its pooler."""
    config = transformers.ViTConfig(image_size=32, patch_size=8, **VIT)
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    if facts is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(facts))
    return folder


def test_an_embedder_is_added(tmp_path: Path, repository: Path, networks: Mapping[str, Sample]) -> None:
    save(networks["dinov2-cls"], FAMILIES["dinov2-cls"], tmp_path / "dino")
    done = export(tmp_path / "dino", "--repository", str(repository), "--name", "mine")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "matches PyTorch (EMBEDDINGS within" in done.stdout and "--embedder embedder-mine" in done.stdout
    stored = inspect_embedder(repository, "embedder-mine")
    assert (stored.state, stored.name) == (State.CUSTOM, "mine")
    config = parse_config((repository / "embedder-mine" / "config.pbtxt").read_text())
    steps = {"resize": "shortest-edge + center-crop", "shortest_edge": 32, "resample": "bicubic"}
    assert json.loads(config["parameters"]["preprocess"]["string_value"]) == steps
    metadata = {each.key: each.value for each in onnx.load(stored.path).metadata_props}
    assert (metadata["exported_from"], metadata["pool"]) == ("dino", "none")


def test_a_detector_replaces_the_present_one(tmp_path: Path, repository: Path, networks: Mapping[str, Sample]) -> None:
    save(networks["rt-detr"], FAMILIES["rt-detr"], tmp_path / "detr")
    place = ("--repository", str(repository))
    refused = export(tmp_path / "detr", *place, role="detector")
    assert refused.exit_code == 1 and "--force" in refused.stderr
    (tmp_path / "labels.txt").write_text("\n".join(["person", "chair", "sofa", "lamp", "vase", "cup", "fork"]))
    labels = ("--labels", str(tmp_path / "labels.txt"))
    done = export(tmp_path / "detr", *place, "--name", "mine", "--force", *labels, role="detector")
    assert (done.exit_code, done.stderr) == (0, "")
    parameters = parse_config((repository / "detector" / "config.pbtxt").read_text())["parameters"]
    assert json.loads(parameters["labels"]["string_value"])[:2] == ["person", "chair"]
    assert json.loads(parameters["preprocess"]["string_value"]) == {"resize": "squash", "resample": "bilinear"}
    assert parameters["name"]["string_value"] == "mine"
    found = answers(repository, "detector", np.zeros((4, 64, 64, 3), np.uint8))
    assert found["BOXES"].shape == (4, 84, 4)


def test_positions_of_another_size_are_interpolated(tmp_path: Path, repository: Path) -> None:
    """DINOv2 was trained at 518 pixels, and its processor cuts 224."""
    config = transformers.Dinov2Config(image_size=56, patch_size=7, mlp_ratio=2, **VIT)
    transformers.Dinov2Model(config).save_pretrained(tmp_path / "dino")
    facts = processor(HALF, 3, do_center_crop=True, crop_size=square(28), size={"shortest_edge": 32})
    (tmp_path / "dino" / "preprocessor_config.json").write_text(json.dumps(facts))
    done = export(tmp_path / "dino", "--repository", str(repository))
    assert (done.exit_code, done.stderr) == (0, "")
    assert answers(repository, "embedder-dino", np.zeros((3, 28, 28, 3), np.uint8))["EMBEDDINGS"].shape == (3, 16)


def test_weights_that_are_missing_are_refused(tmp_path: Path, repository: Path) -> None:
    folder = vit(tmp_path / "vit")
    place = ("--repository", str(repository))
    refused = export(folder, *place)
    assert refused.exit_code == 1 and "no weights for pooler.dense.bias" in refused.stderr
    assert "--pool cls" in refused.stderr
    assert not (repository / "embedder-vit").exists()
    for pool in ("cls", "mean"):
        assert export(folder, *place, "--pool", pool, "--name", pool).exit_code == 0
    half = transformers.ViTForImageClassification(transformers.ViTConfig(image_size=32, patch_size=8, **VIT))
    state = {name: value for name, value in half.state_dict().items() if "layernorm_after" not in name}
    save_file(state, folder / "model.safetensors")
    refused = export(folder, *place, "--pool", "cls", "--name", "half")
    assert refused.exit_code == 1 and "choose a model that has been trained" in refused.stderr


def test_what_no_file_states_is_asked_for(tmp_path: Path, repository: Path) -> None:
    folder = vit(tmp_path / "vit", None)
    options = ["--pool", "cls", "--repository", str(repository)]
    for missing, given in (
        ("--size", ["--size", "32"]),
        ("--mean", ["--mean", "0.5", "--std", "0.5"]),
        ("--preprocess", ["--preprocess", '{"resize": "squash"}']),
    ):
        refused = export(folder, *options)
        assert refused.exit_code == 1 and missing in refused.stderr
        options += given
    done = export(folder, *options)
    assert (done.exit_code, done.stderr) == (0, "")


def test_a_wrong_size_is_refused(tmp_path: Path, repository: Path) -> None:
    refused = export(vit(tmp_path / "vit"), "--pool", "cls", "--size", "40", "--repository", str(repository))
    assert refused.exit_code == 1 and "fails for an image of 40 x 40" in refused.stderr


def test_a_difference_above_the_tolerance_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    refused = export(vit(tmp_path / "vit"), "--pool", "cls", "--to", str(file), "--tolerance", "1e-12")
    assert refused.exit_code == 1 and "away from PyTorch's, allowed 1e-12" in refused.stderr
    assert not file.exists()


REFUSED = {
    "siglip2": (transformers.Siglip2Config(), "embedder", "NaFlex"),
    "align": (transformers.AlignConfig(), "embedder", "has texts too"),
    "detr": (transformers.DetrConfig(use_pretrained_backbone=False), "detector", "rt_detr, rt_detr_v2, d_fine"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_of_other_kinds_are_refused_before_their_weights_are_read(tmp_path: Path, name: str) -> None:
    config, role, reason = REFUSED[name]
    config.save_pretrained(tmp_path / name)
    refused = export(tmp_path / name, "--to", str(tmp_path / "model.onnx"), role=role)
    assert refused.exit_code == 1 and reason in refused.stderr


def test_a_model_of_texts_is_refused(tmp_path: Path) -> None:
    transformers.BertModel(transformers.BertConfig(vocab_size=10, **VIT)).save_pretrained(tmp_path / "bert")
    refused = export(tmp_path / "bert", "--to", str(tmp_path / "model.onnx"))
    assert refused.exit_code == 1 and "whose input is not an image" in refused.stderr


def test_timm_loses_its_classifier_and_keeps_a_projection(
    tmp_path: Path, repository: Path, networks: Mapping[str, Sample]
) -> None:
    sample, family = networks["mobileclip2-fastvit"], FAMILIES["mobileclip2-fastvit"]
    assert family.timm is not None
    facts = {**family.timm["pretrained_cfg"], "classifier": "head.fc"}
    folder = tmp_path / "fast"
    save(sample, family, folder)
    (folder / "config.json").write_text(json.dumps({**family.timm, "pretrained_cfg": facts}))
    for name, options, dimension in (("plain", (), 32), ("projected", ("--projection",), 12)):
        done = export(folder, "--repository", str(repository), "--name", name, *options)
        assert (done.exit_code, done.stderr) == (0, "")
        crops = np.zeros((2, 64, 64, 3), np.uint8)
        assert answers(repository, f"embedder-{name}", crops)["EMBEDDINGS"].shape == (2, dimension)
    mixed = export(folder, "--repository", str(repository), "--name", "mixed", "--projection", "--pool", "mean")
    assert mixed.exit_code == 1 and "--projection" in mixed.stderr


def test_damaged_weights_are_one_line(tmp_path: Path) -> None:
    folder = vit(tmp_path / "vit")
    (folder / "model.safetensors").write_bytes(b"no weights")
    refused = export(folder, "--pool", "cls", "--to", str(tmp_path / "model.onnx"))
    assert refused.exit_code == 1 and "transformers cannot load it" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_the_pixels_are_those_of_the_other_route() -> None:
    levels = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    images = np.random.default_rng(3).integers(0, 256, (2, 8, 6, 3), np.uint8)
    found = PixelModule(levels)(torch.from_numpy(images)).numpy()
    expected = (images / 255 - levels.mean) / levels.std
    np.testing.assert_allclose(found, expected.transpose(0, 3, 1, 2), rtol=0, atol=1e-6)
