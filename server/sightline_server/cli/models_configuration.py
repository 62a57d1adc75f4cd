"""The `config.pbtxt` of stored models: where it is, and whether `serve` would accept it."""

from pathlib import Path

from sightline_models.check import Checked, check_one
from sightline_models.defaults import by_folder
from sightline_models.embedders import FOLDER
from sightline_models.store import State, inspect, inspect_embedder, role_of
from sightline_server.app.embedded import embedded_checks
from sightline_server.errors import ErrorKind, SightlineError


def present_configuration(repository: Path, folder: str) -> str:
    """The text of a model's `config.pbtxt`, and that of its role for a new folder."""
    path = next((p for p in (config_path(repository, f) for f in (folder, role_of(folder))) if p.exists()), None)
    if path is None:
        missing = config_path(repository, role_of(folder))
        raise SightlineError(ErrorKind.CONFIGURATION, f"no such file: {missing}; it says how Triton runs the model")
    return path.read_text(encoding="utf-8")


def config_path(repository: Path, folder: str) -> Path:
    """The `config.pbtxt` with which the engine would serve a model; it may be missing."""
    embedded = embedded_checks()
    return embedded.model_config(repository, folder) if embedded else repository / folder / "config.pbtxt"


def check_folder(repository: Path, folder: str) -> None:
    """Raises `ModelError` or `SightlineError` for a model that a server would refuse."""
    further = FOLDER.fullmatch(folder) is not None
    stored = inspect_embedder(repository, folder) if further else inspect(repository, by_folder(folder))
    check_configuration(repository, check_one(stored))


def check_configuration(repository: Path, checked: Checked) -> None:
    """Reads the model's specification as the server does.

    Raises `SightlineError` for what the server would refuse, and for the name of another model.
    """
    # Late, so that `pull` and `list` do not load Triton's client.
    from sightline_server.triton.specs import search_models
    from sightline_server.triton.stored import read_stored
    from sightline_server.triton.text_specs import TEXT_MODELS

    stored = checked.stored
    config = config_path(repository, stored.folder)
    if not config.exists():
        raise SightlineError(ErrorKind.CONFIGURATION, f"no such file: {config}; without it the model cannot be served")
    further = [stored.folder] if FOLDER.fullmatch(stored.folder) else []
    served = next(each for each in (*search_models(further), *TEXT_MODELS) if each.role == stored.folder)
    spec = read_stored(served, config, checked.inputs, checked.outputs)
    if stored.state is State.READY and spec.name not in (stored.name, stored.folder):
        option = f" --folder {stored.folder}" if further else ""
        raise SightlineError(
            ErrorKind.CONFIGURATION,
            f"{config}: it describes {spec.name}, and the file next to it is {stored.name}; "
            f"run `sightline models use {stored.name}{option}`",
        )
