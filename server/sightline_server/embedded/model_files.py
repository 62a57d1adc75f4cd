"""Compares the model files with their recorded digests, before the embedded engine loads them.

Rule: a file that is not what its `model.json` declares is not served. A file that nothing declares is the operator's
own: it is served with a warning, since damage to it would not be noticed.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from sightline_models.defaults import DEFAULT_MODELS
from sightline_models.embedders import is_further
from sightline_models.errors import ModelError
from sightline_models.offered import printed_text_model
from sightline_models.places import missing_right
from sightline_models.store import State, StoredModel, inspect, inspect_embedder
from sightline_server.errors import ErrorKind, SightlineError

log = logging.getLogger("sightline.engine")


def check_model_files(repository: Path, folders: Iterable[str] = ()) -> None:
    """Hashes the files of detector and embedder, and of further models that `folders` names (about 20 ms each).

    Raises `SightlineError` of kind CONFIGURATION for a file that is missing or has another digest than its `model.json`
    declares, with both digests.
    """
    try:
        for model in DEFAULT_MODELS:
            check_stored(inspect(repository, model))
        names = list(folders)
        for model in filter(None, map(printed_text_model, names)):
            check_stored(inspect(repository, model))
        for folder in filter(is_further, names):
            check_stored(inspect_embedder(repository, folder))
    except ModelError as error:
        raise SightlineError(ErrorKind.CONFIGURATION, str(error)) from error
    except PermissionError as error:
        raise SightlineError(ErrorKind.CONFIGURATION, missing_right(error)) from error


def check_stored(stored: StoredModel) -> None:
    """Logs a warning for a file that can be served although it cannot be verified. Raises `ModelError` for others."""
    if stored.state is State.UNDECLARED:
        log.warning(
            "engine: %s is not the default model and has no model.json, so a damaged file would not be noticed; "
            'declare it there: {"name": "...", "version": "1", "sha256": "%s"}',
            stored.path,
            stored.found,
        )
    elif stored.state is State.OUTDATED:
        log.warning("engine: %s is the default model of another version of Sightline", stored.path)
    else:
        stored.require()
