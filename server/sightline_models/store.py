"""The models as files of a Triton repository.

Place in the flow: compiled bytes -> `<repository>/<folder>/1/model.onnx` with a `model.json` next to it that says what
it is. The one rule: a file appears whole or not at all (temporary name, fsync, rename), and a file that is not what
`model.json` and the package say it is counts as wrong.

`models check` and the start of a server with the embedded engine read the version that Triton serves: the highest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from sightline_models.defaults import DEFAULT_MODELS, DefaultModel
from sightline_models.embedders import FIRST, FOLDER, TEXT, TEXT_FOLDER, embedder_folders, text_folders
from sightline_models.errors import HashMismatchError, ModelError
from sightline_models.offered import PRINTED_TEXT_MODELS, by_name, printed_text_model
from sightline_models.sources import sha256_of

_PULL = "run `sightline models pull`"


class State(Enum):
    """The state of a model's file."""

    READY = "ready"
    """The model of this package that is expected there: the default one, or the one that `model.json` names."""
    CUSTOM = "custom"
    """A model of the operator's own, which its `model.json` declares."""
    OUTDATED = "outdated"
    """That model as another version of this package made it, as its `model.json` says."""
    MISSING = "missing"
    UNDECLARED = "undeclared"
    """Not the expected model, and no `model.json` says what it should be."""
    WRONG = "wrong"
    """Not the model that `model.json` declares."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model's file as it was found; `name` is the name of the model in it, or of the expected one.

    default: the model of this package that the file should be, by its `model.json` or by its folder; None for a further
    embedder of the operator's own.
    expected, found: SHA-256, hexadecimal; `found` is empty when the file is missing, `expected` where nothing says it.
    """

    default: DefaultModel | None
    path: Path
    state: State
    name: str
    expected: str
    found: str

    @property
    def folder(self) -> str:
        """The model's folder in the repository."""
        return self.default.folder if self.default else self.path.parents[1].name

    @property
    def role(self) -> str:
        """`detector`, `embedder`, `text_encoder`, or that of a model that reads printed text."""
        return role_of(self.folder)

    @property
    def _again(self) -> str:
        """The command that puts the expected model in place."""
        if printed_text_model(self.folder) is not None:
            return "run `sightline models use printed-text`"
        return _PULL if self.folder == self.role else f"run `sightline models use {self.name} --folder {self.folder}`"

    def require(self) -> None:
        """Raises HashMismatchError or ModelError unless the file holds the expected model."""
        if self.default is None:
            self._require_declared()
            return
        again = self._again
        if self.state is State.MISSING:
            raise ModelError(f"{self.path}: missing (expected sha256 {self.expected}, found no file); {again}")
        if self.state is State.OUTDATED:
            remedy = f"it is an earlier default; {again}"
            raise HashMismatchError(str(self.path), expected=self.expected, found=self.found, remedy=remedy)
        if self.state in (State.UNDECLARED, State.WRONG):
            remedy = f"remove it and {again}, or declare your own model in a model.json next to it"
            raise HashMismatchError(str(self.path), expected=self.expected, found=self.found, remedy=remedy)

    def _require_declared(self) -> None:
        """`require` of a further embedder."""
        if self.state is State.MISSING:
            raise ModelError(f"{self.path}: missing; put the model's ONNX file there, or remove {self.folder}")
        if self.state is State.UNDECLARED:
            facts = json.dumps({"name": self.name, "version": "1", "sha256": self.found})
            raise ModelError(f"{self.path}: no model.json says what it is; declare it there: {facts}")
        if self.state is State.WRONG:
            remedy = "replace it by the declared file, or correct the model.json next to it"
            raise HashMismatchError(str(self.path), expected=self.expected, found=self.found, remedy=remedy)


def model_path(repository: Path, folder: str) -> Path:
    """The path of version 1 of a model in a Triton repository."""
    return repository / folder / "1" / "model.onnx"


def served_path(repository: Path, folder: str) -> Path:
    """The file that Triton serves of a model: `model.onnx`, else the first ONNX file, of its highest version.

    Without any it is `model_path`.
    """
    numbers = [int(path.name) for path in (repository / folder).glob("[1-9]*") if path.name.isdecimal()]
    for number in sorted(numbers, reverse=True):
        files = sorted((repository / folder / str(number)).glob("*.onnx"), key=lambda path: path.name != "model.onnx")
        if files:
            return files[0]
    return model_path(repository, folder)


def inspect(repository: Path, default: DefaultModel) -> StoredModel:
    """Hashes the file that Triton serves of a model and says what it is (about 20 ms a model).

    Raises:
        ModelError: a `model.json` that cannot be read.
    """
    path = served_path(repository, default.folder)
    declared = _read_declaration(path)
    found = sha256_of(path) if path.is_file() else ""
    if declared.get("name", default.name) != default.name:
        default = _named(declared, default.folder) or default
    if declared.get("name", default.name) != default.name:
        expected = declared.get("sha256", "")
        return StoredModel(default, path, _state(expected, found, State.CUSTOM), declared["name"], expected, found)
    state = _state(default.sha256, found, State.READY)
    if state is State.WRONG and not declared:
        state = State.UNDECLARED
    if state is State.WRONG and declared.get("sha256") == found and declared.get("version") != default.version:
        state = State.OUTDATED
    return StoredModel(default, path, state, default.name, default.sha256, found)


def inspect_embedder(repository: Path, folder: str) -> StoredModel:
    """As `inspect`, for the further embedder or text encoder in `folder`, which its own `model.json` declares."""
    path = served_path(repository, folder)
    declared = _read_declaration(path)
    if known := _named(declared, folder):
        return inspect(repository, known)
    found = sha256_of(path) if path.is_file() else ""
    expected = declared.get("sha256", "")
    state = _state(expected, found, State.CUSTOM)
    if state is State.WRONG and not declared:
        state = State.UNDECLARED
    return StoredModel(None, path, state, declared.get("name", folder), expected, found)


def inspect_all(repository: Path) -> list[StoredModel]:
    """`inspect` of the default models, of all further embedders and text encoders, and of the models of printed text
    that are there.

    Raises `ModelError` and `OSError` as there.
    """
    folders = (*embedder_folders(repository), *text_folders(repository))
    further = [inspect_embedder(repository, folder) for folder in folders]
    text = [model for model in PRINTED_TEXT_MODELS if served_path(repository, model.folder).is_file()]
    return [*(inspect(repository, each) for each in DEFAULT_MODELS), *further, *(inspect(repository, m) for m in text)]


def role_of(folder: str) -> str:
    """The role of the model in a folder of the repository; further models have that of the first of their kind."""
    if FOLDER.fullmatch(folder):
        return FIRST
    return TEXT if TEXT_FOLDER.fullmatch(folder) else folder


def write(repository: Path, default: DefaultModel, onnx_bytes: bytes, config: str | None = None) -> Path:
    """Puts a compiled model, a configuration if one is given, and the `model.json` in place; returns the path."""
    declaration = {"name": default.name, "version": default.version, "sha256": default.sha256}
    return write_declared(repository, default.folder, declaration, onnx_bytes, config)


def write_declared(
    repository: Path, folder: str, declaration: Mapping[str, str], onnx_bytes: bytes, config: str | None = None
) -> Path:
    """As `write`, for any model; `declaration` is the content of its `model.json`.

    The declaration is last: until it is there, the file counts as wrong and no server starts with half of a change.
    """
    path = model_path(repository, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, onnx_bytes)
    if config is not None:
        write_config(repository, folder, config)
    replace_file(_declaration_path(path), (json.dumps(declaration, indent=2) + "\n").encode())
    return path


def write_config(repository: Path, folder: str, config: str) -> None:
    """Puts the text of a model's `config.pbtxt` in place."""
    replace_file(repository / folder / "config.pbtxt", config.encode())


def _named(declared: Mapping[str, str], folder: str) -> DefaultModel | None:
    """The model of this package that a declaration names, for `folder`; None for a model of the operator's own."""
    known = by_name(role_of(folder), declared.get("name", ""))
    return known and replace(known, folder=folder)


def _state(expected: str, found: str, right: State) -> State:
    if not found:
        return State.MISSING
    return right if found == expected else State.WRONG


def _declaration_path(path: Path) -> Path:
    return path.with_name("model.json")


def _read_declaration(path: Path) -> Mapping[str, str]:
    file = _declaration_path(path)
    if not file.is_file():
        return {}
    try:
        declared = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"{file}: cannot be read ({error}); correct or remove it") from error
    if not isinstance(declared, dict) or not all(isinstance(value, str) for value in declared.values()):
        raise ModelError(f"{file}: must be one JSON object of strings: name, version, sha256")
    return declared


def replace_file(path: Path, data: bytes) -> None:
    """Puts a whole file in place, or none. Raises `OSError`."""
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
