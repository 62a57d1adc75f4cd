"""The text encoders that are served, by the names of their folders.

Rule: without the engine's libraries, because `sightline doctor` reads it too.
"""

from pathlib import Path

from sightline_models.embedders import FIRST, embedder_folder_of, text_folders
from sightline_models.places import default_repository, missing_right
from sightline_server.app.further_embedders import further_embedders
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import Settings


def text_encoder_folders(settings: Settings) -> tuple[str, ...]:
    """Those of `engine.text_encoders`, else those of the model repository whose embedder is served; of a remote engine
    none unless they are set.

    Raises `SightlineError` of kind CONFIGURATION where the repository cannot be read.
    """
    part = settings.engine
    if part.text_encoders is not None:
        return tuple(dict.fromkeys(part.text_encoders))
    if part.triton_url is not None:
        return ()
    served = {FIRST, *further_embedders(settings)}
    try:
        stored = text_folders(repository_of(settings))
    except PermissionError as error:
        raise SightlineError(ErrorKind.CONFIGURATION, missing_right(error)) from error
    return tuple(folder for folder in stored if embedder_folder_of(folder) in served)


def repository_of(settings: Settings) -> Path:
    """The model repository on this machine."""
    return settings.engine.repository or default_repository(settings.home_folder)
