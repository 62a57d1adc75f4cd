"""Model files in a repository: whole or not at all, and known for what they are."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from sightline_models.defaults import EMBEDDER, DefaultModel
from sightline_models.errors import HashMismatchError, ModelError
from sightline_models.store import State, inspect, model_path, served_path, write

CONTENT = b"bytes of a model"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def model() -> DefaultModel:
    return replace(EMBEDDER, sha256=digest(CONTENT))


def declare(repository: Path, **facts: object) -> None:
    model_path(repository, "embedder").with_suffix(".json").write_text(json.dumps(facts))


def test_an_empty_repository_misses_the_model(tmp_path: Path, model: DefaultModel) -> None:
    stored = inspect(tmp_path, model)
    assert stored.state is State.MISSING
    with pytest.raises(ModelError, match=f"missing .*{model.sha256}.*found no file.*models pull"):
        stored.require()


def test_what_is_written_is_ready_and_declared(tmp_path: Path, model: DefaultModel) -> None:
    path = write(tmp_path, model, CONTENT)
    stored = inspect(tmp_path, model)
    assert (stored.state, stored.path, stored.name) == (State.READY, path, model.name)
    assert json.loads(path.with_suffix(".json").read_text())["sha256"] == model.sha256
    assert sorted(p.name for p in path.parent.iterdir()) == ["model.json", "model.onnx"]
    stored.require()


def test_a_changed_file_is_wrong_and_both_hashes_are_said(tmp_path: Path, model: DefaultModel) -> None:
    write(tmp_path, model, CONTENT).write_bytes(b"tampered")
    with pytest.raises(HashMismatchError) as raised:
        inspect(tmp_path, model).require()
    assert (raised.value.expected, raised.value.found) == (model.sha256, digest(b"tampered"))


def test_a_declared_model_of_ones_own_is_custom_until_it_changes(tmp_path: Path, model: DefaultModel) -> None:
    path = write(tmp_path, model, b"another model")
    declare(tmp_path, name="my-own", version="3", sha256=digest(b"another model"))
    assert (inspect(tmp_path, model).state, inspect(tmp_path, model).name) == (State.CUSTOM, "my-own")
    path.write_bytes(b"tampered")
    stored = inspect(tmp_path, model)
    assert (stored.state, stored.expected) == (State.WRONG, digest(b"another model"))


def test_a_file_that_nothing_declares_is_undeclared(tmp_path: Path, model: DefaultModel) -> None:
    path = write(tmp_path, model, CONTENT)
    path.with_suffix(".json").unlink()
    assert inspect(tmp_path, model).state is State.READY
    path.write_bytes(b"another")
    assert inspect(tmp_path, model).state is State.UNDECLARED
    with pytest.raises(HashMismatchError, match="declare your own model"):
        inspect(tmp_path, model).require()


@pytest.mark.parametrize(
    ("files", "served"),
    [
        ((), "1/model.onnx"),
        (("1/model.onnx", "2/model.onnx", "10/model.onnx"), "10/model.onnx"),
        (("1/model.onnx", "3/notes.txt"), "1/model.onnx"),
        (("2/b.onnx", "2/c.onnx"), "2/b.onnx"),
        (("2/a.onnx", "2/model.onnx", "0/model.onnx", "old/model.onnx"), "2/model.onnx"),
    ],
)
def test_the_highest_version_is_the_one_that_is_served(tmp_path: Path, files: tuple[str, ...], served: str) -> None:
    for name in files:
        (tmp_path / "detector" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "detector" / name).write_bytes(b"")
    assert served_path(tmp_path, "detector") == tmp_path / "detector" / served


def test_the_declaration_of_the_served_version_counts(tmp_path: Path, model: DefaultModel) -> None:
    write(tmp_path, model, CONTENT)
    own = tmp_path / "embedder" / "2" / "net.onnx"
    own.parent.mkdir()
    own.write_bytes(b"mine")
    own.with_name("model.json").write_text(json.dumps({"name": "mine", "sha256": digest(b"mine")}))
    assert (inspect(tmp_path, model).state, inspect(tmp_path, model).path) == (State.CUSTOM, own)


def test_an_earlier_default_is_outdated_not_wrong(tmp_path: Path, model: DefaultModel) -> None:
    earlier = replace(model, version="0", sha256=digest(b"earlier"))
    write(tmp_path, earlier, b"earlier")
    assert inspect(tmp_path, model).state is State.OUTDATED
    with pytest.raises(HashMismatchError, match="earlier default"):
        inspect(tmp_path, model).require()


@pytest.mark.parametrize("text", ["{", "[1]", '{"name": 1}'])
def test_an_unreadable_declaration_is_named(tmp_path: Path, model: DefaultModel, text: str) -> None:
    write(tmp_path, model, CONTENT).with_suffix(".json").write_text(text)
    with pytest.raises(ModelError, match=r"model\.json"):
        inspect(tmp_path, model)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, model: DefaultModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, model, CONTENT)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, model, b"next")
    assert path.read_bytes() == CONTENT
    assert sorted(p.name for p in path.parent.iterdir()) == ["model.json", "model.onnx"]
