"""The follower: keeps a copy of the published revision in a folder, from which a server serves it.

    CURRENT -> files fetched next to the copy, or linked from it -> digests checked -> exchanged in one step
Rule: the folder is always one whole revision. A revision that cannot be read, is not whole, is damaged or older leaves
it as it is. A follower that is killed leaves a folder `DIR.partial-...`, which the next one removes.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sightline_server.catalog.durable import sync
from sightline_server.catalog.log import create
from sightline_server.catalog.log_file import LOG
from sightline_server.catalog.replica_mark import MARK, is_replica
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adopting import link_file
from sightline_server.index.replication.content_check import require_published
from sightline_server.index.replication.description import Description, LivingFacts, PublishedFile
from sightline_server.index.replication.reasons import NotFollowedError, Reason
from sightline_server.index.replication.share import Share, fetch, on_own_disk
from sightline_server.index.staging import Staging, leftovers

REJECTED_S = 300.0
"""Seconds after which a damaged revision is fetched again."""


def anything(folder: Path) -> None:
    """The check of a follower that serves nothing: any embedder will do."""


class Replica:
    """The copy in `folder` of what is published in `source`. Blocking, one thread at a time.

    `check` gets the folder of a new revision before it replaces the other one, and raises `SightlineError` where that
    could not be served. `now` gives monotonic seconds.
    """

    def __init__(
        self,
        source: Path,
        folder: Path,
        *,
        check: Callable[[Path], object] = anything,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share = Share(source)
        self._folder = folder
        self._check = check
        self._now = now
        self._tidied = False
        self._rejected: tuple[bytes, NotFollowedError, float] | None = None
        self.newest: Description | None = None
        """The published revision that was read last."""

    def step(self) -> str | None:
        """Takes the published revision. Returns its name; None where the folder has it already.

        Raises `NotFollowedError`, and leaves the folder as it is; `SightlineError` of kind CONFIGURATION where the
        folder is not a replica.
        """
        self._remove_leftovers()
        data = self._share.current()
        own = self._mark()
        if data == own:
            self.newest = self.newest or Description.parse(data)
            return None
        if self._rejected is not None and self._rejected[0] == data and self._now() < self._rejected[2]:
            raise self._rejected[1]
        description = Description.parse(data)
        self.newest = description
        before = known(own)
        require_newer(before, description)
        try:
            self._take(description, data, before)
        except NotFollowedError as error:
            if error.reason in (Reason.DAMAGED, Reason.EMBEDDER):
                self._rejected = data, error, self._now() + REJECTED_S
            raise
        self._rejected = None
        return description.name

    def _remove_leftovers(self) -> None:
        """Removes what a killed follower has left, once; no other step does while the revision stays the same."""
        if self._tidied or not self.exists:
            return
        self._tidied = True
        if leftovers(self._folder):
            with suppress(OSError, SightlineError), Staging(self._folder, replace=True, replica=True):
                pass

    @property
    def exists(self) -> bool:
        """Returns whether the folder has a revision that can be served."""
        return is_replica(self._folder)

    def _mark(self) -> bytes | None:
        """The description of the revision that the folder has; None without a folder."""
        if is_replica(self._folder):
            return (self._folder / MARK).read_bytes()
        if self._folder.exists() and any(self._folder.iterdir()):
            message = (
                f"{self._folder} is not a replica, and following {self._share.path} would replace it; name a folder "
                "that is not there yet"
            )
            raise SightlineError(ErrorKind.CONFIGURATION, message)
        return None

    def _take(self, description: Description, data: bytes, before: Description | None) -> None:
        try:
            self._exchange(description, data, before)
        except NotFollowedError as error:
            # A file of the copy may be what is damaged.
            if error.reason is not Reason.DAMAGED or before is None:
                raise
            self._exchange(description, data, None)

    def _exchange(self, description: Description, data: bytes, before: Description | None) -> None:
        with on_own_disk(self._folder), Staging(self._folder, replace=True, replica=True) as staging:
            there = {file.path: file for file in before.files} if before else {}
            staging.path.mkdir()
            for file in description.files:
                self._bring(file, staging.path / file.path, linked=there.get(file.path) == file)
            if (living := description.living) is not None:
                self._write_log(staging.path / LOG, living)
            require_published(staging.path, description)
            self._check_served(staging.path)
            (staging.path / MARK).write_bytes(data)
            sync(staging.path / MARK)
            staging.publish()

    def _bring(self, file: PublishedFile, target: Path, *, linked: bool) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        own = self._folder / file.path
        if linked and own.is_file() and own.stat().st_size == file.size:
            link_file(own, target)
        else:
            fetch(self._share, file, target)

    @staticmethod
    def _write_log(path: Path, living: LivingFacts) -> None:
        try:
            create(path, living.layout, living.facts, living.revision)
        except SightlineError as error:
            raise NotFollowedError(Reason.DISK, error.message) from error

    def _check_served(self, folder: Path) -> None:
        try:
            self._check(folder)
        except SightlineError as error:
            message = error.message.replace(str(folder), str(self._folder))
            raise NotFollowedError(Reason.EMBEDDER, message) from error


def description_of(folder: Path) -> Description | None:
    """The description of the revision that the replica at `folder` has; None where it is of another version."""
    try:
        return known((folder / MARK).read_bytes())
    except FileNotFoundError:
        return None


def known(mark: bytes | None) -> Description | None:
    """The description in a mark; None for one of another version of Sightline, whose files are all fetched again."""
    try:
        return None if mark is None else Description.parse(mark)
    except NotFollowedError:
        return None


def require_newer(before: Description | None, description: Description) -> None:
    """Raises `NotFollowedError` for a revision before the one that the replica has."""
    if before is None or before.publication != description.publication:
        return
    if description.sequence <= before.sequence:
        message = (
            f"the source has revision {description.name}, which was published before {before.name}: an earlier state "
            "of it was restored, or a cache shows one. Publish the catalog again"
        )
        raise NotFollowedError(Reason.OLDER, message)
