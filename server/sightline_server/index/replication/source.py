"""The current revision of a catalog, as the files that a replica needs.

Rule: reads only, and without the lock, next to a writer. Operations that are not yet in a revision are left out: those
are published by `operations_publisher`. Original images and local features are not published.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sightline_server.catalog.base import BASE, UNREADABLE, Base, panics, version_files
from sightline_server.catalog.content import is_living
from sightline_server.catalog.generations import FIRST, base_name
from sightline_server.catalog.log import read_recorded
from sightline_server.catalog.revisions import Revision
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import read_identity, state_of
from sightline_server.index.choice.shelf import FOLDER
from sightline_server.index.dataset import open_dataset
from sightline_server.index.replication.description import LivingFacts

INDEX_FILES = ("*.json", "*.faiss")


@dataclass(frozen=True, slots=True)
class SourceRevision:
    """A revision called `name`: the file here of each path within a replica's folder.

    Files of `unchanging` paths are never written again under the same name. `revisions` are all of the catalog, the
    newest first; none of a catalog without a log.
    """

    name: str
    files: Mapping[str, Path]
    living: LivingFacts | None
    revisions: tuple[Revision, ...] = ()

    @staticmethod
    def unchanging(path: str) -> bool:
        """Returns whether the content of `path` is always the same: Lance names files of rows by random numbers."""
        return path.startswith((f"{BASE}/data/", "data/"))


def read_source(folder: Path) -> SourceRevision:
    """The current revision of the catalog at `folder`.

    Raises `SightlineError` of kind CONFIGURATION when it is missing, damaged or has an adapter,
    weights or a verdict, INDEX_UNAVAILABLE when it was replaced while it was read; the next call reads the new one.
    """
    try:
        with panics():
            found = living_source(folder) if is_living(folder) else built_source(folder)
    except UNREADABLE as error:
        message = f"the catalog at {folder} was changed while it was read; it is read again with the next attempt"
        raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, message) from error
    return found


def living_source(folder: Path) -> SourceRevision:
    """The source of a catalog with a log."""
    recorded = read_recorded(folder)
    current = recorded.current
    if current.adapter:
        message = (
            f"the catalog at {folder} has an adapter, weights or a verdict, and a replica would search "
            "without them; remove them: sightline adapt CATALOG --remove"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    base = Base(folder, recorded.base_version, current.generation)
    there = folder / base_name(current.generation)
    files = {f"{BASE}/{name}": there / name for name in base.files()}
    living = LivingFacts(replace(current, generation=FIRST), recorded.layout, recorded.facts)
    return SourceRevision(current.name, files | index_files(folder), living, recorded.revisions)


def built_source(folder: Path) -> SourceRevision:
    """The source of a catalog that was never changed."""
    name, _ = read_identity(folder)
    files = {path: folder / path for path in version_files(open_dataset(folder), folder)}
    return SourceRevision(name, files | index_files(folder), None)


def index_files(folder: Path) -> dict[str, Path]:
    """The chosen index and its record, by path; they may be missing on a replica."""
    found = sorted(path for pattern in INDEX_FILES for path in (folder / FOLDER).glob(pattern))
    return {f"{FOLDER}/{path.name}": path for path in found}


def source_state(folder: Path) -> object:
    """A value that changes when there is something new to publish; cheap, for a call every second."""
    stats = [(name, path.stat().st_mtime_ns) for name, path in index_files(folder).items()]
    return state_of(folder), tuple(stats)
