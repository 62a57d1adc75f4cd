"""`models check` and config.pbtxt: what `serve` would refuse is refused, with the message that `serve` has."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sightline_models.store import model_path
from sightline_server.cli.models import app
from sightline_server.domain.preprocess import Fit
from sightline_server.embedded import repository as packaged
from sightline_server.errors import SightlineError
from sightline_server.triton.specs import BOTH
from sightline_server.triton.stored import read_stored
from tests.support.tiny_models import LABELS, build_repository, embedder_model, write_model

Facts = Mapping[str, object]
LETTERBOX = {"resize": "letterbox"}


def declare(repository: Path) -> Path:
    """Writes the `model.json` of both models, which makes them custom models; returns `repository`."""
    for folder in ("detector", "embedder"):
        path = model_path(repository, folder)
        facts = {"name": f"tiny-{folder}", "version": "1", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        path.with_suffix(".json").write_text(json.dumps(facts))
    return repository


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return declare(build_repository(tmp_path))


def check(repository: Path) -> Result:
    return CliRunner().invoke(app, ["check", "--repository", str(repository)])


def refusal(repository: Path) -> str:
    """The one line with which the repository is refused."""
    result = check(repository)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    return line.removeprefix("sightline models: ")


def set_parameters(repository: Path, model: str, facts: Facts) -> None:
    """Adds parameters to a configuration; Triton takes the last value of a key."""
    with (repository / model / "config.pbtxt").open("a") as file:
        for key, value in facts.items():
            file.write(f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(json.dumps(value))} }} }}\n')


def test_models_with_a_good_configuration_pass(repository: Path) -> None:
    result = check(repository)
    assert result.exit_code == 0, result.stderr
    detector, embedder = result.stdout.splitlines()
    assert detector.startswith("detector  tiny-detector  fits the contract")
    assert embedder.endswith("config.pbtxt is valid")


@pytest.mark.parametrize(
    ("model", "facts", "expected"),
    [
        ("embedder", {"preprocess": {"mean": [0, 0, 0]}}, "`preprocess` in config.pbtxt: there is no key `mean`"),
        ("embedder", {"preprocess": {"resize": "stretch"}}, "`resize` is 'stretch'; possible are 'letterbox'"),
        ("embedder", {"preprocess": {"resize": "squash", "fill": 1}}, "`fill` is 1; it needs `resize` to be 'letter"),
        ("detector", {"preprocess": {**LETTERBOX, "fill": [0, 0, 256]}}, "`fill` is [0, 0, 256]; expected one whole"),
        (
            "embedder",
            {"preprocess": {"resize": "shortest-edge + center-crop", "shortest_edge": 31}},
            "`shortest_edge` is 31; expected a whole number of pixels of 32..128",
        ),
        ("embedder", {"preprocess": ["squash"]}, "parameter `preprocess` must be a JSON dict"),
        ("detector", {"vocabulary": {"persons": []}}, "`vocabulary` in config.pbtxt: there is no key `persons`"),
        ("detector", {"vocabulary": {"people": ["man"]}}, "`people` has 'man', which is not among the model's `lab"),
        ("detector", {"vocabulary": {"synonyms": {"Sofa": "couch"}}}, "`synonyms` must be a JSON object of lower-case"),
        (
            "embedder",
            {"search": {"share": 0.8}},
            "`search` in config.pbtxt: there is no key `share`; possible are 'whole",
        ),
        ("embedder", {"search": {"whole_photo_share": 0}}, "`whole_photo_share` is 0; expected a number above 0"),
        ("embedder", {"search": {"whole_photo_share": True}}, "`whole_photo_share` is True; expected a number"),
        ("embedder", {"search": {"local_features": 1}}, "`local_features` is 1; expected true or false"),
        ("embedder", {"search": [0.8]}, "parameter `search` must be a JSON dict"),
        ("detector", {"labels": []}, "parameter `labels` in config.pbtxt must be a JSON list"),
    ],
)
def test_a_parameter_that_serve_refuses_is_refused(repository: Path, model: str, facts: Facts, expected: str) -> None:
    set_parameters(repository, model, facts)
    message = refusal(repository)
    assert message.startswith(f"model {model}: ")
    assert expected in message


def test_a_parameter_that_is_not_json_is_refused(repository: Path) -> None:
    with (repository / "embedder" / "config.pbtxt").open("a") as file:
        file.write('parameters { key: "preprocess" value { string_value: "{" } }\n')
    assert refusal(repository) == "model embedder: parameter `preprocess` in config.pbtxt is not JSON"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_batch_siz: 4\n", 'Message type "inference.ModelConfig" has no field named "max_batch_siz"'),
        ("parameters {", "Triton cannot read it: "),
        ('name: "other"\n', "`name` is 'other'; expected 'detector', or no name"),
    ],
)
def test_a_file_that_triton_refuses_is_refused(repository: Path, text: str, expected: str) -> None:
    path = repository / "detector" / "config.pbtxt"
    with path.open("a") as file:
        file.write(text)
    message = refusal(repository)
    assert message.startswith(f"{path}: ")
    assert expected in message


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_is_not_text_or_missing_is_refused(repository: Path, content: bytes | None) -> None:
    path = repository / "detector" / "config.pbtxt"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert str(path) in refusal(repository)


@dataclass(frozen=True)
class Onnx:
    """A tensor as ONNX Runtime describes it."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


CROPS = Onnx("CROPS", "tensor(uint8)", ("batch", 32, 48, 3))


def test_sizes_and_types_come_from_the_tensors(repository: Path) -> None:
    _, embedder = BOTH
    config = repository / "embedder" / "config.pbtxt"
    spec = read_stored(embedder, config, [CROPS], [Onnx("EMBEDDINGS", "tensor(float)", (None, 8))])
    assert (spec.height, spec.width, spec.dimension, spec.max_batch_size) == (32, 48, 8, 64)
    assert spec.preprocess.fit is Fit.SQUASH


@pytest.mark.parametrize(
    ("output", "found"),
    [
        (Onnx("EMBEDDINGS", "tensor(float)", ("batch", "D")), "EMBEDDINGS FP32 [-1,-1]"),
        (Onnx("EMBEDDINGS", "tensor(float16)", ("batch", 8)), "EMBEDDINGS FP16 [-1,8]"),
        (Onnx("EMBEDDINGS", "tensor(double)", (None, 8)), "EMBEDDINGS FP64 [-1,8]"),
        (Onnx("EMBEDDINGS", "tensor(float)", (1, 8)), "EMBEDDINGS FP32 [1,8]"),
    ],
)
def test_tensors_that_serve_refuses_are_refused(repository: Path, output: Onnx, found: str) -> None:
    _, embedder = BOTH
    with pytest.raises(SightlineError) as caught:
        read_stored(embedder, repository / "embedder" / "config.pbtxt", [CROPS], [output])
    assert caught.value.message == f"model embedder: expected EMBEDDINGS FP32 [B,D], found {found}"


def test_without_a_file_the_packaged_configuration_is_checked(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "wheel"
    monkeypatch.setattr(packaged, "PACKAGED", wheel)
    write_model(wheel, "embedder", embedder_model(), {"preprocess": {"resize": "squash"}}, max_batch_size=4)
    (repository / "embedder" / "config.pbtxt").unlink()
    assert check(repository).exit_code == 0
    set_parameters(wheel, "embedder", {"preprocess": {"resize": "stretch"}})
    assert "`resize` is 'stretch'" in refusal(repository)


def test_labels_of_the_configuration_may_be_any_words(repository: Path) -> None:
    set_parameters(repository, "detector", {"labels": [*LABELS, "stühle"], "vocabulary": {"people": ["stühle"]}})
    assert check(repository).exit_code == 0
