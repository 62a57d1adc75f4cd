"""The publisher of operations: brings what a log has on top of its revision to the folder that replicas read.

    log -> SHARE/objects (segments of operations) -> OPERATIONS
Rule: the log is the source, so a publisher that was killed goes on from what is published. Operations that a checkpoint
takes out of the log are kept in memory before that (`keep`) until they are published, so that replicas which have the
revision before go on without waiting for the next one.
"""

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from sightline_server.catalog.content import is_living
from sightline_server.catalog.log_tail import LogTail, StoredRow, read_log_tail
from sightline_server.index.replication.description import Description
from sightline_server.index.replication.lineage import continues
from sightline_server.index.replication.reasons import NotFollowedError, Reason
from sightline_server.index.replication.segment import encoded
from sightline_server.index.replication.share import Share
from sightline_server.index.replication.tail import Segment, Tail

log = logging.getLogger(__name__)

SEGMENT_OPERATIONS, SEGMENT_BYTES = 4096, 16 << 20
"""A segment has at most so many operations, and about so many bytes."""
KEPT_OPERATIONS, KEPT_BYTES = 16_384, 64 << 20
"""So many operations and bytes are kept in memory; with more, replicas wait for the next revision."""


class OtherOperationsError(Exception):
    """The published operations are not those of the log: an earlier state of the catalog was restored."""


class OperationsPublisher:
    """Publishes the operations of the catalog at `folder` to `share`, whose lock the caller holds.

    Blocking, one thread at a time; `keep` is for any thread.
    """

    def __init__(self, folder: Path, share: Share, clock: Callable[[], datetime]) -> None:
        self._folder, self._share, self._clock = folder, share, clock
        self._tail: Tail | None = None
        """The published operations; None before they were read."""
        self._kept: list[StoredRow] = []
        self._turn = threading.Lock()
        """Held while `_kept` is used."""

    @property
    def files(self) -> set[str]:
        """The SHA-256 of each published segment."""
        return set() if self._tail is None else {each.sha256 for each in self._tail.segments}

    def due(self) -> bool:
        """Returns whether there is something to publish; cheap, for a call every second. Raises `SightlineError`."""
        if not is_living(self._folder):
            return False
        if self._tail is None or self._kept:
            return True
        found = read_log_tail(self._folder, self._tail.last, most=1, most_bytes=1)
        return bool(found.rows) or differs(self._tail, found)

    def step(self, description: Description) -> None:
        """Publishes the operations on top of `description`, which is the published revision.

        Operations after a rollback wait for its revision. Raises `OtherOperationsError`, and `SightlineError`; what was
        published stays then, and the next call goes on from there.
        """
        if description.living is None or not is_living(self._folder):
            return
        before = self._published()
        tail = Tail.on(description) if before is None else before.rebased(description)
        while continues(description.name, (found := self._read(tail.last)).revisions):
            if differs(tail, found):
                self._forget_until(sys.maxsize)
                raise OtherOperationsError
            if rows := self._following(tail.last, found.rows):
                tail = self._with_segment(tail, rows)
            elif tail.last < tail.base_seq:
                # Those in between are in the revision only.
                tail = Tail.on(description)
            else:
                break
        if tail != before and (tail.segments or self._share.operations() is not None):
            self._share.replace_operations(tail.to_bytes())
        self._tail = tail
        self._forget_until(tail.last)

    def keep(self) -> None:
        """Keeps what is not published yet, because a checkpoint takes it out of the log. Never raises."""
        try:
            with self._turn:
                self._keep()
        except Exception as error:  # a checkpoint must not fail for it: replicas take the revision instead
            log.warning("%s: operations were not kept for replicas (%s)", self._folder, type(error).__name__)

    def _keep(self) -> None:
        tail = self._tail
        if tail is None:
            return
        after = self._kept[-1][0] if self._kept else tail.last
        found = read_log_tail(self._folder, after, most=KEPT_OPERATIONS, most_bytes=KEPT_BYTES)
        kept = [*self._kept, *found.rows]
        whole = not kept or kept[-1][0] == found.last_seq
        few = len(kept) <= KEPT_OPERATIONS and sum(len(row[3] or b"") for row in kept) <= KEPT_BYTES
        self._kept = kept if whole and few else []

    def _forget_until(self, seq: int) -> None:
        with self._turn:
            self._kept = [row for row in self._kept if row[0] > seq]

    def _published(self) -> Tail | None:
        """The published operations; None where there are none, or only a part of their description."""
        tail, data = self._tail, self._share.operations()
        if data is None:
            return None if tail is None or tail.segments else tail
        if tail is not None and data == tail.to_bytes():
            return tail
        try:
            return Tail.parse(data)
        except NotFollowedError as error:
            if error.reason is Reason.INCOMPLETE:
                return None
            raise

    def _read(self, after: int) -> LogTail:
        return read_log_tail(self._folder, after, most=SEGMENT_OPERATIONS, most_bytes=SEGMENT_BYTES)

    def _following(self, last: int, rows: Sequence[StoredRow]) -> list[StoredRow]:
        """The operations after `last` that a segment has, of those that were kept and `rows` of the log."""
        with self._turn:
            kept = {row[0]: row for row in self._kept if row[0] > last}
        known = kept | {row[0]: row for row in rows}
        found: list[StoredRow] = []
        size = 0
        while (row := known.get(last + 1 + len(found))) is not None:
            if len(found) == SEGMENT_OPERATIONS or size >= SEGMENT_BYTES:
                break
            found.append(row)
            size += len(row[3] or b"")
        return found

    def _with_segment(self, tail: Tail, rows: Sequence[StoredRow]) -> Tail:
        file = self._share.put_bytes(encoded(rows))
        published_at = self._clock().isoformat(timespec="milliseconds")
        segment = Segment(rows[0][0], rows[-1][0], file.size, file.sha256, published_at)
        return tail.extended(segment, rows[-1][4])


def differs(tail: Tail, found: LogTail) -> bool:
    """Returns whether the last operation of `tail` is another one in the log, which `found` was read after it."""
    if found.last_seq < tail.last:
        return True
    return bool(tail.mark) and found.mark is not None and found.mark.hex() != tail.mark
