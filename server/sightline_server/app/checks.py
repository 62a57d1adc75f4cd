"""The checks of the settings that need nothing but the disk, made before anything slow is started."""

from pathlib import Path

from sightline_server.app.audit import check_audit
from sightline_server.app.catalog_listener import check_catalog_server
from sightline_server.app.catalogs import check_folders, naming
from sightline_server.app.ranking_weights import check_weights
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import read_facts
from sightline_server.settings import ServerSettings, Settings
from sightline_server.stages.formats import check_decoders


def check_settings(settings: Settings) -> dict[str, Path]:
    """The folder of each catalog by its name, when a server could start with `settings`.

    Raises `SightlineError` of kind CONFIGURATION when no catalog is given, a folder is not a catalog, the package
    of an image format is not installed, CatalogService may not listen on its address, there are settings
    for catalogs that it creates and it is off, the audit log cannot be written, or the weights of ranking cannot be
    used.
    """
    check_audit(settings.audit)
    if settings.server.catalog_listen is not None:
        check_catalog_server(settings.server)
    check_catalogs_folder(settings.server)
    check_written_in_milvus(settings)
    folders = check_folders(settings)
    check_decoders(settings.decode.formats)
    check_weights(settings)
    return folders


def check_written_in_milvus(settings: Settings) -> None:
    """Raises `SightlineError` of kind CONFIGURATION for the folder of a catalog in Milvus where no caller can write, or
    for one that is not a catalog."""
    for name, path in settings.written_in_milvus.items():
        if settings.server.catalog_listen is None:
            message = (
                f"catalogs.{name}.path {path} is for writing to a catalog in Milvus, and needs server.catalog_listen; "
                "set that too, or leave the path out"
            )
            raise SightlineError(ErrorKind.CONFIGURATION, message)
        with naming(name, {**settings.catalog_folders, **settings.written_in_milvus}):
            read_facts(path)


def check_catalogs_folder(server: ServerSettings) -> None:
    """Raises `SightlineError` of kind CONFIGURATION for a folder of new catalogs where no caller can make one, or for
    settings of new catalogs without a folder."""
    if server.catalogs_folder is not None and server.catalog_listen is None:
        message = (
            f"server.catalogs_folder {server.catalogs_folder} needs server.catalog_listen; set that too, or "
            "serve the catalogs in the folder by naming each with --catalog"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    if server.keep_local_features and server.catalogs_folder is None:
        message = (
            "server.keep_local_features is for catalogs that callers create, and needs server.catalogs_folder; for a "
            "catalog that exists use: sightline catalog upsert FEED --catalog DIR --local-features"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    if server.keep_originals and server.catalogs_folder is None:
        message = (
            "server.keep_originals is for catalogs that callers create, and needs server.catalogs_folder; for a "
            "catalog that exists use: sightline catalog upsert FEED --catalog DIR --keep-originals"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
