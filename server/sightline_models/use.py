"""`models use`: serves another model of this package in a folder of the repository.

Place in the flow: source -> recipe -> file, configuration and `model.json` of one folder. The one rule: a model of the
operator's own is never replaced silently, and a change that is interrupted leaves a folder that no server starts with.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sightline_models.configuration import configure
from sightline_models.defaults import DefaultModel
from sightline_models.embedders import FIRST, FOLDER
from sightline_models.errors import ModelError, NoHomeError
from sightline_models.pull import Progress, Report, Step, compile_default, downloads_of
from sightline_models.ranking_weights import place_weights
from sightline_models.store import State, StoredModel, inspect, model_path, write, write_config

_FOREIGN = frozenset({State.CUSTOM, State.UNDECLARED, State.WRONG})


def in_folder(model: DefaultModel, folder: str | None) -> DefaultModel:
    """The model for another folder of its role; None is the role's own folder.

    Raises:
        ModelError: a folder of another role.
    """
    if folder in (None, model.folder):
        return model
    if model.folder != FIRST or not FOLDER.fullmatch(folder):
        possible = f"{FIRST} or {FIRST}-NAME" if model.folder == FIRST else model.folder
        raise ModelError(f"{model.name} cannot be in the folder {folder!r}; expected {possible}")
    return replace(model, folder=folder)


def use(
    repository: Path, home: Path | None, model: DefaultModel, config: str, report: Report, *, force: bool = False
) -> StoredModel:
    """Puts `model` into its folder of the repository, with a configuration that is true of it.

    Args:
        home: its `downloads/` keeps the wheels; None raises `NoHomeError` where one is needed.
        config: text of the folder's present `config.pbtxt`; its parameters of the model are replaced.
        report: called at the beginning of each step.
        force: replace a model of the operator's own, or a file that nothing declares.

    Raises:
        ModelError: such a model without `force`, another version that Triton serves, no source, or wrong bytes.
    """
    stored = inspect(repository, model)
    require_replaceable(stored, model_path(repository, model.folder), force=force)
    configured = configure(config, model)
    if stored.state is State.READY and stored.name == model.name:
        report(Progress(model, Step.KEPT))
        write_config(repository, model.folder, configured)
        place_weights(repository, model.folder)
        return stored
    if home is None:
        raise NoHomeError
    data = compile_default(model, downloads_of(home), report)
    report(Progress(model, Step.STORE))
    write(repository, model, data, configured)
    place_weights(repository, model.folder)
    report(Progress(model, Step.DONE))
    return inspect(repository, model)


def require_replaceable(stored: StoredModel, path: Path, *, force: bool) -> None:
    """Raises ModelError where a file at `path` would not be served, or would replace a model of the operator's own."""
    if stored.path != path:
        raise ModelError(f"{stored.path}: Triton serves this version, and {path} would not be; remove the higher one")
    if stored.state in _FOREIGN and not force:
        raise ModelError(
            f"{path}: holds {stored.name} with sha256 {stored.found}, which is not a model of this package; "
            "keep a copy of it and add --force to replace it"
        )
