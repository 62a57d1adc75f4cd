"""A folder of catalogs that are made and removed while the server runs.

    create: .creating-NAME (empty base, log) -> on the disk -> NAME, in one step
    remove: NAME -> .removed-NAME-..., in one step -> its files are deleted
Rule: a crash leaves a catalog whole or absent. Names of catalogs begin with a letter or a digit, so no catalog is taken
for what an earlier process left behind; that is deleted when the folder is opened.
"""

import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import lance

from sightline_server.catalog.base import BASE, UNREADABLE, panics
from sightline_server.catalog.content import is_living
from sightline_server.catalog.durable import sync, sync_tree
from sightline_server.catalog.founding import found_catalog
from sightline_server.catalog.lock import WriterLock
from sightline_server.catalog.operations import Layout
from sightline_server.catalog.originals_file import Kind, create_originals
from sightline_server.catalog.refusals import code_of, refusal
from sightline_server.domain.catalogs import NAME
from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adopting import HEAVY, NOTE
from sightline_server.index.digest import ContentDigest
from sightline_server.index.schema import CatalogFacts, catalog_schema

log = logging.getLogger(__name__)

CREATING, REMOVED = ".creating-", ".removed-"
UNFINISHED = re.compile(r".+\.partial-[0-9]+(?:\.old)?")
"""The folder of a build that has not finished. The next build of the same catalog deletes it."""
LOCK = ".lock"

KindsOf = Callable[[EmbedderSpec], Sequence[Kind]]
"""The kinds of files that a new catalog keeps of its images, by its embedder."""


def no_kinds(_: EmbedderSpec) -> Sequence[Kind]:
    """Returns no kinds: a `KindsOf` for catalogs that keep no files."""
    return ()


def can_be_made(name: str) -> bool:
    """Returns whether a catalog may have this name, and its folder too."""
    return bool(NAME.fullmatch(name)) and not UNFINISHED.fullmatch(name)


class CatalogsFolder:
    """A context: the folder `root`, used by this process alone. Blocking.

    Catalogs that are created in it keep those files of their images that `kinds` gives for their embedder, and have so
    many `views` of each image. Raises `SightlineError` of kind CONFIGURATION where `root` is not a folder, or another
    server uses it.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        kinds: KindsOf = no_kinds,
        views: int = ONE_VIEW,
    ) -> None:
        self.root = root
        self._views = views
        self._kinds = kinds
        self._clock = clock
        self._lock = WriterLock(root, LOCK)

    def __enter__(self) -> Self:
        self.require_folder()
        try:
            self._lock.acquire()
        except SightlineError as error:
            message = f"server.catalogs_folder {self.root} cannot be used: {error.message}"
            raise SightlineError(error.kind, message) from error
        for each in self.root.iterdir():
            if each.name.startswith((CREATING, REMOVED)):
                self.delete(each)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def require_folder(self) -> None:
        """Raises `SightlineError` of kind CONFIGURATION where there is no folder `root`."""
        if not self.root.is_dir():
            message = f"server.catalogs_folder {self.root} is not a folder; make it, or name another one"
            raise SightlineError(ErrorKind.CONFIGURATION, message)

    def catalogs(self) -> dict[str, Path]:
        """The folder of each catalog by its name, in the order of the names."""
        folders = sorted(each for each in self.root.iterdir() if can_be_made(each.name))
        return {each.name: each for each in folders if is_living(each) or (each / "_versions").is_dir()}

    def require_free(self, name: str) -> None:
        """Raises `SightlineError` of kind CATALOG_EXISTS where there is a file or folder of that name."""
        if os.path.lexists(self.root / name):
            message = (
                "catalog_id: the server's folder of catalogs has a file or folder of this name, which was not there at "
                "its start; choose another name, or restart the server to serve it"
            )
            raise SightlineError(ErrorKind.CATALOG_EXISTS, message, field="catalog_id")

    def create(self, name: str, embedder: EmbedderSpec, *, actor: str = "") -> Path:
        """Makes an empty catalog for vectors of `embedder`. It is on the disk when this returns.

        Raises `SightlineError` as `require_free`, and for a folder that cannot be written.
        """
        self.require_free(name)
        new = self.root / f"{CREATING}{name}"
        with folder_errors(self.root, "the catalog was not created"):
            try:
                shutil.rmtree(new, ignore_errors=True)
                make_empty(new, embedder, self._clock().isoformat(timespec="seconds"), actor, self._views)
                for kind in self._kinds(embedder):
                    create_originals(new, kind)
                sync_tree(new)
                rename(new, self.root / name)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
        return self.root / name

    def set_aside(self, name: str) -> Path:
        """Removes the catalog `name` in one step. Returns the folder that its files have until they are deleted.

        Raises `SightlineError` for a folder that cannot be written; the catalog is as it was then.
        """
        aside = self.root / f"{REMOVED}{name}-{secrets.token_hex(4)}"
        with folder_errors(self.root, "the catalog is as it was"):
            rename(self.root / name, aside)
        return aside

    def delete(self, aside: Path) -> None:
        """Deletes files that no catalog has any more; those that cannot be deleted are left for the next start."""
        try:
            shutil.rmtree(aside)
        except OSError as error:
            log.warning("%s cannot be deleted (%s); the next start tries it again", aside, error.strerror)


def rename(old: Path, new: Path) -> None:
    """Renames a folder within the folder that holds it, durably. Raises `OSError`, and the old name stays then."""
    old.rename(new)
    try:
        sync(new.parent)
    except OSError:
        new.rename(old)
        raise


def make_empty(folder: Path, embedder: EmbedderSpec, created_at: str, actor: str, views: int = ONE_VIEW) -> None:
    """A catalog without products in `folder`, which is not there yet. Not synchronised."""
    schema = catalog_schema(embedder.dimension)
    facts = CatalogFacts(embedder, 0, 0, 0, ContentDigest(schema.names).hexdigest(), created_at, views=views)
    folder.mkdir()
    base = str(folder / BASE)
    dataset = lance.write_dataset(schema.empty_table(), base, schema=schema)
    dataset.update_schema_metadata(NOTE, replace=True)
    metadata = {key.decode(): text.decode() for key, text in facts.metadata().items()}
    version = lance.dataset(base).version
    found_catalog(folder, Layout(schema, HEAVY), metadata, version, created_at=created_at, actor=actor)


@contextmanager
def folder_errors(root: Path, outcome: str) -> Iterator[None]:
    """Turns errors of the files into `SightlineError`, whose message callers may read; the log has the path."""
    try:
        with panics():
            yield
    except UNREADABLE as error:
        found = refusal(error, root)
        log.error("%s: %s; %s", root, found.reason, outcome)
        reason = found.reason if code_of(error) else "the server's log says why"
        message = f"the server's folder of catalogs cannot be written ({reason}); {outcome}"
        raise SightlineError(found.kind, message) from error
