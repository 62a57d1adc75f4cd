"""The `config.pbtxt` of stored models: where it is, and whether `serve` would accept it."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline_models.check import Checked, check_one
from sightline_models.defaults import by_folder
from sightline_models.embedders import FOLDER, TEXT, TEXT_FOLDER, embedder_folder_of, is_further
from sightline_models.errors import ModelError
from sightline_models.store import State, inspect, inspect_embedder, role_of
from sightline_models.tokenizer import FILE
from sightline_server.app.embedded import embedded_checks
from sightline_server.errors import ErrorKind, SightlineError


def present_configuration(repository: Path, folder: str) -> str:
    """The text of a model's `config.pbtxt`, and that of its role for a new folder."""
    path = next((p for p in (config_path(repository, f) for f in (folder, role_of(folder))) if p.exists()), None)
    if path is None:
        missing = config_path(repository, role_of(folder))
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"no such file: {missing}; copy it from model_repository of a checkout"
        )
    return path.read_text(encoding="utf-8")


def config_path(repository: Path, folder: str) -> Path:
    """The `config.pbtxt` with which the engine would serve a model; it may be missing."""
    embedded = embedded_checks()
    return embedded.model_config(repository, folder) if embedded else repository / folder / "config.pbtxt"


def check_folder(repository: Path, folder: str) -> None:
    """Raises `ModelError` or `SightlineError` for a model that a server would refuse.

    `check_pairs` compares a text encoder with the embedder that it belongs to.
    """
    stored = inspect_embedder(repository, folder) if is_further(folder) else inspect(repository, by_folder(folder))
    check_configuration(repository, check_one(stored))


def check_configuration(repository: Path, checked: Checked) -> None:
    """Reads the model's specification as the server does.

    Raises `SightlineError` for what the server would refuse, and for the name of another model.
    """
    stored = checked.stored
    config = config_path(repository, stored.folder)
    if not config.exists():
        raise SightlineError(ErrorKind.CONFIGURATION, f"no such file: {config}; without it the model cannot be served")
    spec = stored_spec(repository, checked)
    if stored.state is State.READY and spec.name not in (stored.name, stored.folder):
        option = f" --folder {stored.folder}" if FOLDER.fullmatch(stored.folder) else ""
        raise SightlineError(
            ErrorKind.CONFIGURATION,
            f"{config}: it describes {spec.name}, and the file next to it is {stored.name}; "
            f"run `sightline models use {stored.name}{option}`",
        )
    if stored.role == TEXT:
        tokenizer = stored.path.with_name(FILE)
        if hashlib.sha256(tokenizer.read_bytes()).hexdigest() != spec.tokenizer_sha256:
            raise ModelError(f"{tokenizer}: is not the one that `tokenizer_sha256` in {config} states")


def check_pairs(repository: Path, checked: Sequence[Checked]) -> None:
    """Raises `SightlineError` where a text encoder does not belong to the embedder in the folder next to it."""
    from sightline_server.domain.text_encoders import require_pair

    by_name = {each.stored.folder: each for each in checked}
    for each in checked:
        if each.stored.role != TEXT:
            continue
        folder = embedder_folder_of(each.stored.folder)
        if folder not in by_name:
            message = f"{repository / each.stored.folder}: belongs to {folder}, which is missing; remove the folder"
            raise SightlineError(ErrorKind.CONFIGURATION, message)
        specs = (stored_spec(repository, each), stored_spec(repository, by_name[folder]))
        require_pair(each.stored.folder, specs[0], folder, specs[1])


def stored_spec(repository: Path, checked: Checked) -> Any:
    """The specification of a stored model, with the digest of its file."""
    # Late, so that `pull` and `list` do not load Triton's client.
    from sightline_server.triton.printed_text_specs import PRINTED_TEXT_MODELS
    from sightline_server.triton.specs import search_models
    from sightline_server.triton.stored import read_stored

    folder = checked.stored.folder
    further = [folder] if FOLDER.fullmatch(folder) else []
    texts = [folder] if TEXT_FOLDER.fullmatch(folder) else []
    served = next(model for model in (*search_models(further, texts), *PRINTED_TEXT_MODELS) if model.role == folder)
    spec = read_stored(served, config_path(repository, folder), checked.inputs, checked.outputs)
    return replace(spec, sha256=checked.stored.found)
