"""The revisions of a catalog that its writer has opened, and the base of the current one.

    new_version -> a version of a base -> on the disk -> record: one transaction names it
Rule: what the log does not name is dropped by the next `load`. It is not dropped where the step failed: whether a
commit that failed will be found by a later start is certain only after another transaction.
"""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sightline_server.catalog import manifests
from sightline_server.catalog.base import Base
from sightline_server.catalog.durable import NewFiles, sync, sync_tree
from sightline_server.catalog.generations import Generation, base_name, foreign_folders, newest_versions
from sightline_server.catalog.log import Log, Recorded
from sightline_server.catalog.revisions import Revision, current_revision
from sightline_server.catalog.writing import writing_errors
from sightline_server.errors import ErrorKind, SightlineError


@dataclass(frozen=True, slots=True, eq=False)
class OpenBase:
    """The base of a generation, and a record of which of its files are on the disk."""

    generation: Generation
    base: Base
    files: NewFiles


class Held:
    """The revisions and bases that the log of `folder` names.

    For the holder of the catalog's lock, in one thread at a time.
    """

    def __init__(self, folder: Path, log: Log, *, actor: str, clock: Callable[[], datetime]) -> None:
        self.folder = folder
        self.log = log
        self.unfinished = False
        """A step began and has not ended. Where it failed, `load` is needed before the next one."""
        self.base_turn = threading.Lock()
        """Held while a base gets a new version, and while one is read ahead of a checkpoint."""
        self.preparing: set[int] = set()
        """Generations whose base is being written and is not named yet."""
        self.revisions: tuple[Revision, ...] = ()
        self.generations: dict[int, Generation] = {}
        self.open: OpenBase
        self._actor = actor
        self._clock = clock

    @property
    def current(self) -> Revision:
        """The revision that the catalog has."""
        return current_revision(self.revisions)

    @property
    def base(self) -> Base:
        """The base of the current revision."""
        return self.open.base

    def load(self) -> Recorded:
        """Reads the log, and drops what the bases have beyond the recorded versions."""
        recorded = self.log.read()
        self.generations, self.revisions = dict(recorded.generations), recorded.revisions
        base = Base(self.folder, recorded.base_version, recorded.current.generation)
        base.recover(recorded.base_version)
        base.set_tags(self.versions(recorded.current.generation))
        require_rows(self.folder, base, recorded.current)
        self.open = OpenBase(self.generations[recorded.current.generation], base, base.new_files())
        newest = newest_versions(self.revisions)
        for generation, version in newest.items():
            manifests.quarantine(self.folder / base_name(generation), version)
        self.remove_unnamed()
        return recorded

    def opened(self, generation: int) -> OpenBase:
        """The base of a generation in its newest version: the current one, or another one."""
        if generation == self.current.generation:
            return self.open
        base = Base(self.folder, newest_versions(self.revisions)[generation], generation)
        return OpenBase(self.generations[generation], base, base.new_files())

    @contextmanager
    def step(self) -> Iterator[None]:
        """A step, which `load` drops when it fails."""
        self.unfinished = True
        with writing_errors(self.folder):
            yield
        self.unfinished = False

    @contextmanager
    def new_version(self) -> Iterator[None]:
        """A step that gives a base of the catalog a new version, after a thread that reads one ahead."""
        with self.step(), self.base_turn:
            yield

    def named(self, revision: Revision) -> Revision:
        """`revision` as the next one, with the time and the user of now."""
        created_at = self._clock().isoformat(timespec="seconds")
        number = self.revisions[0].number + 1
        return replace(revision, number=number, created_at=created_at, actor=self._actor)

    def record(self, revision: Revision, opened: OpenBase, adapter: bytes = b"") -> None:
        """Brings the new version of `opened` to the disk, then names it as a new revision, which is the current one.

        `adapter` is that of the revision where it is a new one.
        """
        version, generation = opened.base.version, opened.generation.number
        revision = replace(self.named(revision), base_version=version, generation=generation)
        opened.base.set_tags(self.versions(generation) | {revision.number: version})
        opened.files.sync()
        self.log.record(revision, adapter)
        self.revisions, self.open = (revision, *self.revisions), opened

    def move(self) -> None:
        """Brings the new version of the current base to the disk, then names it as that of the current revision."""
        moved = replace(self.current, base_version=self.base.version)
        self.base.set_tags(self.versions(moved.generation) | {moved.number: self.base.version})
        self.open.files.sync()
        self.log.move(moved.number, self.base.version)
        self.revisions = tuple(moved if each.number == moved.number else each for each in self.revisions)

    def prepared(self, revision: Revision, generation: Generation, origins: Mapping[bytes, bytes]) -> Revision:
        """Names a new generation, whose rows are on the disk, and its first revision. Returns that."""
        revision = self.named(revision)
        assert revision.base_version is not None
        base = Base(self.folder, revision.base_version, generation.number)
        base.set_tags({revision.number: revision.base_version})
        sync_tree(self.folder / base_name(generation.number))
        sync(self.folder)
        self.log.prepare(generation, origins, revision)
        self.generations[generation.number] = generation
        self.revisions = (revision, *self.revisions)
        return revision

    def versions(self, generation: int) -> dict[int, int]:
        """The version of each revision of a generation whose content is kept, the newest first."""
        kept = (each for each in self.revisions if each.generation == generation)
        return {each.number: each.base_version for each in kept if each.base_version is not None}

    def forget(self, kept: set[int]) -> None:
        """Removes the content of all revisions but `kept`, which have the current one."""
        dropped = [each for each in self.revisions if each.base_version is not None and each.number not in kept]
        numbers = {each.number for each in dropped}
        self.log.forget(numbers)
        self.revisions = tuple(
            replace(each, base_version=None) if each.number in numbers else each for each in self.revisions
        )
        left = newest_versions(self.revisions)
        for generation in {self.current.generation, *(each.generation for each in dropped)} & left.keys():
            opened = self.opened(generation)
            opened.base.set_tags(self.versions(generation))
            opened.base.clean()
            opened.files.sync()
        self.remove_unnamed()

    def remove_unnamed(self) -> None:
        """Removes the bases of which the log names no version; what cannot be removed does no harm."""
        known = newest_versions(self.revisions).keys() | self.preparing
        for path in foreign_folders(self.folder, known):
            remove_base(path)


def remove_base(path: Path) -> None:
    """Removes a base that nothing names."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        sync(path.parent)


def require_rows(folder: Path, base: Base, revision: Revision) -> None:
    """Raises `SightlineError` when `base` has another number of rows than `revision`."""
    found = base.count()
    if found != revision.rows:
        message = f"the base of {folder} is damaged: {found} rows, expected {revision.rows}"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
