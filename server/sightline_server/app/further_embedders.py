"""The embedders that are served next to `embedder`, by the names of their folders.

Rule: without the engine's libraries, because `sightline doctor` reads it too.
"""

from sightline_models.embedders import FIRST, FOLDER, MOST_EMBEDDERS, embedder_folders
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


def with_embedder(settings: Settings, text: str | None) -> Settings:
    """The settings of an engine with the first embedder, and with the one that an operator names by `text`.

    All embedders are served where `text` is not the name of a folder: only the engine knows their identities. Text
    encoders, which are for searches, are not.
    """
    if text is None or text == FIRST:
        return with_models(settings, embedders=())
    return with_models(settings, embedders=(text,)) if FOLDER.fullmatch(text) else without_text_encoders(settings)


def without_text_encoders(settings: Settings) -> Settings:
    """The settings of an engine that makes embeddings of images only."""
    return with_models(settings)


def with_models(settings: Settings, **models: tuple[str, ...]) -> Settings:
    """The settings with these values of `engine` and no text encoder."""
    update = {**models, "text_encoders": ()}
    return settings.model_copy(update={"engine": settings.engine.model_copy(update=update)})


def stored_embedders(settings: Settings) -> tuple[str, ...]:
    """The folders of further embedders in the model repository. Raises `SightlineError` of kind CONFIGURATION."""
    repository = settings.engine.repository or default_repository(settings.home_folder)
    try:
        return embedder_folders(repository)
    except PermissionError as error:
        raise SightlineError(ErrorKind.CONFIGURATION, missing_right(error)) from error
