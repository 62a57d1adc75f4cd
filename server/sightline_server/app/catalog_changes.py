"""Catalogs that callers create and remove while the server serves.

    create: folder on the disk -> opened and watched -> its name is known
    remove: the writer refuses writes -> the folder is set aside -> its name is unknown -> closed -> files deleted
Rule: one change at a time, each to its end. Before the step on the disk nothing has changed, and after it nothing can
bring the catalog back or keep it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from sightline_server.app.written import WrittenCatalogs, server_user
from sightline_server.catalog.originals_file import FEATURE_FILES, IMAGE_FILES, Kind
from sightline_server.domain.catalogs import CatalogNames, unknown_catalog
from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalogs_folder import CatalogsFolder, KindsOf, can_be_made, no_kinds
from sightline_server.jobs.jobs import Jobs
from sightline_server.ports import CatalogWriter
from sightline_server.rpc.catalog.catalog_set import NewCatalog
from sightline_server.rpc.catalog.writers import CatalogWriters
from sightline_server.settings import ServerSettings

log = logging.getLogger(__name__)

MOST_CATALOGS = 100
"""Catalogs of a server: each has its own threads, files and series of metrics."""
RETRY_S = 60.0

T = TypeVar("T")


class ChangingCatalogs:
    """`rpc.catalog.catalog_set.CatalogSet` over the catalogs in `written`; those of `configured` stay.

    New ones are created in `folder`; without it none can be.
    """

    def __init__(
        self,
        written: WrittenCatalogs,
        folder: CatalogsFolder | None,
        configured: Mapping[str, Path],
        names: CatalogNames,
        writers: CatalogWriters,
        jobs: Jobs,
    ) -> None:
        self._written = written
        self._folder = folder
        self._configured = frozenset(configured)
        self._names = names
        self._writers = writers
        self._jobs = jobs
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()

    def check_new(self, wanted: NewCatalog) -> EmbedderSpec:
        """See `CatalogSet`."""
        embedder = self._embedder_of(wanted)
        self._folder_for(wanted.name)
        return embedder

    async def create(self, wanted: NewCatalog) -> CatalogWriter:
        """See `CatalogSet`."""
        return await self._to_its_end(self._create(wanted.name, self._embedder_of(wanted)))

    def check_removable(self, name: str) -> None:
        """See `CatalogSet`."""
        if self._folder is None or name in self._configured:
            message = (
                "name: this catalog is named in the settings of the server, so it cannot be deleted by a call; remove "
                "it from the settings (catalog.path, catalogs.NAME.path or --catalog) and restart the server"
            )
            raise SightlineError(ErrorKind.CONFIGURATION, message, field="name")

    async def remove(self, name: str, check: Callable[[int], None]) -> None:
        """See `CatalogSet`."""
        await self._to_its_end(self._remove(name, check))

    async def close(self) -> None:
        """Waits for the changes that run."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _to_its_end(self, change: Coroutine[Any, Any, T]) -> T:
        """The result of `change`, which has its turn and is not cancelled with its caller."""

        async def in_turn() -> T:
            async with self._turn:
                return await change

        task = asyncio.create_task(in_turn(), name="catalog-change")
        self._running.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have left

    def _folder_for(self, name: str) -> CatalogsFolder:
        """The folder in which `name` can be created. Raises `SightlineError`."""
        if name in self._names.names:
            message = "catalog_id: there is a catalog of this name; choose another name, or use that one"
            raise SightlineError(ErrorKind.CATALOG_EXISTS, message, field="catalog_id")
        if self._folder is None:
            message = (
                "this server has no folder for new catalogs; set server.catalogs_folder (or --catalogs-folder) to a "
                "folder and restart it"
            )
            raise SightlineError(ErrorKind.CONFIGURATION, message)
        if not can_be_made(name):
            message = "catalog_id: a name cannot end like the folder of an unfinished build (.partial-NUMBER)"
            raise SightlineError(ErrorKind.INVALID_REQUEST, message, field="catalog_id")
        if len(self._names.names) >= MOST_CATALOGS:
            message = f"the server has {len(self._names.names)} catalogs, and the limit is {MOST_CATALOGS}; delete one"
            metadata = {"limit": "catalogs"}
            raise SightlineError(ErrorKind.OVERLOADED, message, retry_after_s=RETRY_S, metadata=metadata)
        self._folder.require_free(name)
        return self._folder

    def _embedder_of(self, wanted: NewCatalog) -> EmbedderSpec:
        """The embedder of a new catalog. Raises `SightlineError` of kind INVALID_REQUEST where it is not served."""
        served = self._written.embedders
        if not wanted.embedder:
            return served.first.spec
        try:
            return served.named(wanted.embedder).spec
        except SightlineError as error:
            message = f"embedder: it is not served; expected one of {', '.join(served.identities)}"
            raise SightlineError(ErrorKind.INVALID_REQUEST, message, field="embedder") from error

    async def _create(self, name: str, embedder: EmbedderSpec) -> CatalogWriter:
        folder = self._folder_for(name)
        path = await asyncio.to_thread(folder.create, name, embedder, actor=server_user())
        try:
            writer = await self._written.start(name, path)
        except BaseException:
            await asyncio.to_thread(undo, folder, name)
            raise
        self._writers.add(name, writer)
        self._names.add(name)
        log.info("catalog %s created in %s", name, path)
        return writer

    async def _remove(self, name: str, check: Callable[[int], None]) -> None:
        self.check_removable(name)
        if name not in self._written.folders or self._folder is None:
            raise unknown_catalog()
        folder, aside = self._folder, list[Path]()

        def set_aside(products: int) -> None:
            check(products)
            # A merge reads the folder; without writes no other one begins.
            self._written.opened[name].index.join()
            aside.append(folder.set_aside(name))

        await self._written.retire(name, set_aside)
        self._names.remove(name)
        self._writers.remove(name)
        await self._jobs.forget(name)
        await self._written.end(name)
        await asyncio.to_thread(folder.delete, aside[0])
        log.info("catalog %s deleted", name)


def undo(folder: CatalogsFolder, name: str) -> None:
    """Deletes a new catalog that could not be opened."""
    try:
        folder.delete(folder.set_aside(name))
    except SightlineError as error:
        log.error("catalog %s could not be opened, and its folder is left: %s", name, error.message)


def open_catalogs_folder(
    stack: AsyncExitStack,
    root: Path | None,
    names: CatalogNames,
    folders: dict[str, Path],
    *,
    kinds: KindsOf = no_kinds,
    views: int = ONE_VIEW,
) -> CatalogsFolder | None:
    """The folder of catalogs, used by this process until `stack` ends; adds what is in it to `names` and `folders`.

    None where there is none. New catalogs keep the files of their images that `kinds` gives, and have so many `views`
    of them. Raises `SightlineError` of kind CONFIGURATION.
    """
    if root is None:
        return None
    folder = stack.enter_context(CatalogsFolder(root, kinds=kinds, views=views))
    for name, path in new_catalogs(folder, folders).items():
        folders[name] = path
        names.add(name)
    return folder


def kept_kinds(server: ServerSettings, embedder: EmbedderSpec) -> list[Kind]:
    """The kinds of files that a new catalog of `embedder` keeps of its images."""
    features = embedder.search.keeps_features(server.keep_local_features)
    asked = {IMAGE_FILES: server.keep_originals, FEATURE_FILES: features}
    return [kind for kind, keep in asked.items() if keep]


def new_catalogs(folder: CatalogsFolder, configured: Mapping[str, Path]) -> dict[str, Path]:
    """The catalogs in `folder` that the settings do not name, by name.

    Raises `SightlineError` of kind CONFIGURATION where one has the name of another catalog of the settings.
    """
    paths = {path.resolve() for path in configured.values()}
    found = {name: path for name, path in folder.catalogs().items() if path.resolve() not in paths}
    if taken := sorted(found.keys() & configured.keys()):
        name = taken[0]
        message = (
            f"two catalogs have the name {name}: {configured[name]} of the settings, and {found[name]} in "
            "server.catalogs_folder; rename one of them"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    return found


def catalogs_in(root: Path, configured: Mapping[str, Path]) -> dict[str, Path]:
    """`new_catalogs` of the folder `root`, which is read without its lock.

    Raises `SightlineError` of kind CONFIGURATION also where it is not a folder.
    """
    folder = CatalogsFolder(root)
    folder.require_folder()
    return new_catalogs(folder, configured)
