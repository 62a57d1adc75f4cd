"""The settings of the listener of catalogs, checked before anything slow is started."""

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.listener.exposure import check_listener
from sightline_server.settings import ServerSettings


def check_catalog_server(settings: ServerSettings) -> None:
    """Raises `SightlineError` as `catalog_server`."""
    catalog_server(settings)


def catalog_server(settings: ServerSettings) -> ServerSettings:
    """The settings of the listener of catalogs: those of the server with its own address.

    Raises `SightlineError` of kind CONFIGURATION where it may not listen there, or where the server has workers.
    """
    if settings.catalog_listen is None:
        raise SightlineError(ErrorKind.CONFIGURATION, "server.catalog_listen is not set")
    if settings.workers > 1:
        message = (
            f"server.catalog_listen needs one process, and server.workers is {settings.workers}: a catalog has one "
            "writer, and the other workers would search an old content. Set server.workers = 1, or leave "
            "server.catalog_listen empty and bring changes in by `sightline catalog upsert` and `catalog reload`"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    listener = settings.model_copy(update={"listen": settings.catalog_listen})
    check_listener(listener, "server.catalog_listen")
    return listener
