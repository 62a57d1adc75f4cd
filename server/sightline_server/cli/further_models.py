"""Checks of further embedders and text encoders for `sightline doctor`, by their folders in the model repository.

Rule: one finding each; they inspect and change nothing.
"""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from sightline_models.embedders import TEXT
from sightline_models.errors import ModelError
from sightline_models.places import default_repository, missing_right
from sightline_models.store import State, inspect_embedder
from sightline_server.app.further_embedders import further_embedders
from sightline_server.app.text_folders import text_encoder_folders
from sightline_server.domain.checks import Check, Verdict
from sightline_server.errors import SightlineError
from sightline_server.settings import Settings


def count_further(settings: Settings) -> int:
    """The number of further embedders and text encoders; 0 where they cannot be listed, as another finding reports."""
    try:
        return len(further_embedders(settings)) + len(text_encoder_folders(settings))
    except SightlineError:
        return 0


def further_models(settings: Settings) -> Iterator[Check]:
    """The findings about the files of further models; none for a remote engine, which has its own."""
    if settings.engine.triton_url is not None or settings.home is None:
        return
    try:
        repository = settings.engine.repository or default_repository(settings.home)
        for folder in (*further_embedders(settings), *text_encoder_folders(settings)):
            yield further_model(repository, folder)
    except SightlineError as error:
        yield Check("embedders", Verdict.FAIL, error.message)


def further_model(repository: Path, folder: str) -> Check:
    """The finding about one further model, which `serve` starts although nothing declares its file."""
    verdict = Verdict.FAIL
    try:
        stored = inspect_embedder(repository, folder)
        if not os.path.isfile(repository / folder / "config.pbtxt"):
            message = f"no config.pbtxt in {repository / folder}"
            return Check(folder, Verdict.FAIL, message, "add the model again with `sightline models`")
        verdict = Verdict.WARN if stored.state is State.UNDECLARED else verdict
        stored.require()
        if stored.role == TEXT and find_spec("tokenizers") is None:
            message = "the package tokenizers is missing, without which texts cannot be searched"
            return Check(folder, Verdict.FAIL, message, 'pip install "sightline[text]"')
    except PermissionError as error:
        return Check(folder, verdict, missing_right(error))
    except ModelError as error:
        return Check(folder, verdict, str(error))
    return Check(folder, Verdict.OK, f"{stored.name} in {stored.path}")
