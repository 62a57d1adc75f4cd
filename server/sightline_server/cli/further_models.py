"""Checks of further embedders for `sightline doctor`: the folders `embedder-NAME` of the model repository.

Rule: one finding each; they inspect and change nothing.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from sightline_models.errors import ModelError
from sightline_models.places import default_repository, missing_right
from sightline_models.store import State, inspect_embedder
from sightline_server.app.further_embedders import further_embedders
from sightline_server.domain.checks import Check, Verdict
from sightline_server.errors import SightlineError
from sightline_server.settings import Settings


def count_further(settings: Settings) -> int:
    """The number of further embedders; 0 where they cannot be listed, which another finding reports."""
    try:
        return len(further_embedders(settings))
    except SightlineError:
        return 0


def further_models(settings: Settings) -> Iterator[Check]:
    """The findings about the files of further embedders; none for a remote engine, which has its own."""
    if settings.engine.triton_url is not None or settings.home is None:
        return
    try:
        repository = settings.engine.repository or default_repository(settings.home)
        for folder in further_embedders(settings):
            yield further_model(repository, folder)
    except SightlineError as error:
        yield Check("embedders", Verdict.FAIL, error.message)


def further_model(repository: Path, folder: str) -> Check:
    """The finding about one further embedder, which `serve` starts although nothing declares its file."""
    verdict = Verdict.FAIL
    try:
        stored = inspect_embedder(repository, folder)
        if not os.path.isfile(repository / folder / "config.pbtxt"):
            message = f"no config.pbtxt in {repository / folder}"
            return Check(folder, Verdict.FAIL, message, "copy that of embedder and correct it; docs/guide/models.md")
        verdict = Verdict.WARN if stored.state is State.UNDECLARED else verdict
        stored.require()
    except PermissionError as error:
        return Check(folder, verdict, missing_right(error))
    except ModelError as error:
        return Check(folder, verdict, str(error))
    return Check(folder, Verdict.OK, f"{stored.name} in {stored.path}")
