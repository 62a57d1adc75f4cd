"""The embedders that are served next to `embedder`, by the names of their folders.

Rule: without the engine's libraries, because `sightline doctor` reads it too.
"""

from sightline_models.embedders import MOST_EMBEDDERS, embedder_folders
from sightline_models.places import default_repository, missing_right
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import Settings


def further_embedders(settings: Settings) -> tuple[str, ...]:
    """Those of `engine.embedders`, else of the model repository; of a remote engine none unless they are set.

    Raises `SightlineError` of kind CONFIGURATION for more than are served, and where the repository cannot be read.
    """
    part = settings.engine
    if part.embedders is None and part.triton_url is not None:
        return ()
    names = stored_embedders(settings) if part.embedders is None else tuple(dict.fromkeys(part.embedders))
    if len(names) > MOST_EMBEDDERS:
        message = (
            f"there are {len(names)} embedders in addition to the first ({', '.join(names)}), and at most "
            f"{MOST_EMBEDDERS} are served; name those to serve in engine.embedders"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    return names


def stored_embedders(settings: Settings) -> tuple[str, ...]:
    """The folders of further embedders in the model repository. Raises `SightlineError` of kind CONFIGURATION."""
    repository = settings.engine.repository or default_repository(settings.home_folder)
    try:
        return embedder_folders(repository)
    except PermissionError as error:
        raise SightlineError(ErrorKind.CONFIGURATION, missing_right(error)) from error
