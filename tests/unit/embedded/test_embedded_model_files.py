"""The digests that a server compares before its engine loads the models."""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sightline_models import defaults, store
from sightline_server.embedded import model_files
from sightline_server.errors import ErrorKind, SightlineError

CONTENT = b"bytes of the default model"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with both default models, as `models pull` writes it."""
    models = [replace(model, sha256=digest(CONTENT)) for model in defaults.DEFAULT_MODELS]
    monkeypatch.setattr(model_files, "DEFAULT_MODELS", models)
    for model in models:
        store.write(tmp_path, model, CONTENT)
    return tmp_path


def declare(path: Path, content: bytes) -> None:
    """Makes `content` a model of the operator's own."""
    path.write_bytes(content)
    path.with_name("model.json").write_text(json.dumps({"name": "my-own", "version": "1", "sha256": digest(content)}))


def refused(repository: Path) -> str:
    with pytest.raises(SightlineError) as caught:
        model_files.check_model_files(repository)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    return str(caught.value)


@pytest.mark.parametrize("model", ["detector", "embedder"])
def test_a_changed_default_is_refused_with_both_digests(repository: Path, model: str) -> None:
    path = store.model_path(repository, model)
    path.write_bytes(b"tampered")
    message = refused(repository)
    assert str(path) in message
    assert digest(CONTENT) in message
    assert digest(b"tampered") in message
    assert "sightline models pull" in message


@pytest.mark.parametrize("model", ["detector", "embedder"])
def test_an_own_model_is_served_until_it_differs_from_its_declaration(
    repository: Path, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = store.model_path(repository, model)
    declare(path, b"mine")
    with caplog.at_level(logging.WARNING):
        model_files.check_model_files(repository)
    assert caplog.messages == []
    path.write_bytes(b"mine, damaged")
    assert digest(b"mine") in refused(repository)


@pytest.mark.parametrize("model", ["detector", "embedder"])
def test_a_file_that_nothing_declares_is_served_with_a_warning(
    repository: Path, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = store.model_path(repository, model)
    path.write_bytes(b"unknown")
    path.with_name("model.json").unlink()
    with caplog.at_level(logging.WARNING):
        model_files.check_model_files(repository)
    (message,) = caplog.messages
    assert str(path) in message
    assert digest(b"unknown") in message


def test_an_earlier_default_is_served_with_a_warning(repository: Path, caplog: pytest.LogCaptureFixture) -> None:
    earlier = replace(defaults.DEFAULT_MODELS[0], version="0", sha256=digest(b"earlier"))
    store.write(repository, earlier, b"earlier")
    with caplog.at_level(logging.WARNING):
        model_files.check_model_files(repository)
    assert "another version of Sightline" in caplog.text


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.with_name("model.json").write_text("{"), "model.json"),
        (lambda path: path.with_name("model.json").write_text('{"name": "mine"}'), "expected sha256"),
    ],
    ids=["missing", "broken declaration", "no digest"],
)
def test_what_cannot_be_compared_is_refused(repository: Path, harm: Callable[[Path], object], said: str) -> None:
    harm(store.model_path(repository, "detector"))
    assert said in refused(repository)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_this_user_may_not_read_is_named(repository: Path) -> None:
    path = store.model_path(repository, "detector")
    path.chmod(0)
    assert str(path) in refused(repository)
