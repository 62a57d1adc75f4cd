"""The publisher: brings each new revision of a catalog, and operations on top of it, to a folder that replicas read.

    the catalog's files -> SHARE/objects (those that are not there yet) -> CURRENT -> files of old revisions removed
    the operations of its log -> `operations_publisher`
Rule: reads the catalog next to its writer and changes nothing in it. `CURRENT` is replaced last, so a publisher that is
killed leaves the revision before; its files are kept for a while for replicas that are reading them.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sightline_server.catalog.lock import WriterLock
from sightline_server.catalog.replica_mark import require_not_replica
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.replication.description import Description, PublishedFile
from sightline_server.index.replication.lineage import continues
from sightline_server.index.replication.operations_publisher import OperationsPublisher, OtherOperationsError
from sightline_server.index.replication.reasons import NotFollowedError, Reason
from sightline_server.index.replication.share import CURRENT, LOCK, Share
from sightline_server.index.replication.source import SourceRevision, read_source, source_state

UNUSED_S = 900.0
"""Seconds for which files of earlier revisions stay, for replicas that are reading them."""


@dataclass(frozen=True, slots=True)
class Published:
    """A revision that was published: its name, and the number and bytes of the files that were new for it."""

    name: str
    files: int
    copied_bytes: int


class Publisher:
    """Publishes the catalog at `folder` to the folder `share`, which must be there. Blocking, one thread at a time."""

    def __init__(
        self,
        folder: Path,
        share: Path,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        unused_s: float = UNUSED_S,
    ) -> None:
        self._folder = folder
        self._share = Share(share)
        self._clock = clock
        self._unused_s = unused_s
        self._seen: object = None
        self._operations = OperationsPublisher(folder, self._share, clock)

    def keep_operations(self) -> None:
        """Keeps what is not published yet, before a checkpoint; any thread may call it. Never raises."""
        self._operations.keep()

    def step(self) -> Published | None:
        """Publishes the current revision, and what was written since. None where no revision is new.

        Raises `SightlineError`: CONFIGURATION when the catalog or the share is missing, or another process publishes to
        it, OVERLOADED for a full disk, INDEX_UNAVAILABLE when the next attempt may succeed. What was published stays.
        """
        state = source_state(self._folder)
        renewed = state != self._seen or not (self._share.path / CURRENT).exists()
        if not renewed and not self._operations.due():
            return None
        require_not_replica(self._folder)
        if not self._share.path.is_dir():
            message = f"{self._share.path} is not a folder; make it, or mount it, before a catalog is published there"
            raise SightlineError(ErrorKind.CONFIGURATION, message)
        lock = WriterLock(self._share.path, LOCK)
        lock.acquire()
        try:
            # First: replicas need not wait for the files of a revision.
            restored = not self._publish_operations()
            published = None
            if renewed or restored:
                published = self._publish(read_source(self._folder), restored=restored)
                self._publish_operations()
            if published is not None:
                self._tidy()
        finally:
            lock.release()
        self._seen = state
        return published

    def _publish_operations(self) -> bool:
        """Publishes what was written since the published revision; False where the log has other operations."""
        description = self._before()
        if description is not None:
            try:
                self._operations.step(description)
            except OtherOperationsError:
                return False
        return True

    def _tidy(self) -> None:
        description = self._before()
        if description is not None:
            used = {file.sha256 for file in description.files} | self._operations.files
            self._share.tidy(used, self._unused_s)

    def _publish(self, revision: SourceRevision, *, restored: bool) -> Published | None:
        """Publishes `revision`, also an unchanged one where an earlier state of the catalog was `restored`."""
        before = self._before()
        self._share.make()
        files, new = self._files(revision, before)
        same = before is not None and (before.name, before.files, before.living) == (
            revision.name,
            files,
            revision.living,
        )
        if same and not restored:
            return None
        sequence = 1 if before is None else before.sequence + 1
        follows = before is not None and not restored and continues(before.name, revision.revisions)
        description = Description(
            publication=secrets.token_hex(8) if before is None else before.publication,
            sequence=sequence,
            published_at=self._clock().isoformat(timespec="milliseconds"),
            name=revision.name,
            files=files,
            living=revision.living,
            since=before.since if before is not None and follows else sequence,
        )
        self._share.replace_current(description.to_bytes())
        return Published(revision.name, len(new), sum(file.size for file in new))

    def _before(self) -> Description | None:
        """The published revision; None where there is none, or only a part of one."""
        try:
            return Description.parse(self._share.current())
        except NotFollowedError as error:
            if error.reason is Reason.INCOMPLETE or not (self._share.path / CURRENT).exists():
                return None
            raise

    def _files(
        self, revision: SourceRevision, before: Description | None
    ) -> tuple[tuple[PublishedFile, ...], list[PublishedFile]]:
        """The files of `revision`, on the share, and those of them that were copied."""
        known = {file.path: file for file in before.files} if before else {}
        files: list[PublishedFile] = []
        new: list[PublishedFile] = []
        for path, source in sorted(revision.files.items()):
            file = known.get(path)
            try:
                if file is None or not revision.unchanging(path) or not self._share.has(file):
                    file, copied = self._share.put(path, source)
                    new += [file] if copied else []
            except OSError as error:
                message = f"{source} cannot be read ({error.strerror}); the next attempt reads the catalog again"
                raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, message) from error
            files.append(file)
        return tuple(files), new
