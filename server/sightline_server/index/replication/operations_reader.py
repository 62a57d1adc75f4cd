"""The reader of operations: what a replica takes of the operations that are published, and keeps next to its copy.

    OPERATIONS -> segments that are needed -> digest verified -> COPY/operations
Rule: nothing is believed before its digest is right. What was applied is kept, so that a replica that starts again
without its source serves what it had.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from sightline_server.catalog.operations import Layout, Operation
from sightline_server.index.replication.description import PublishedFile
from sightline_server.index.replication.reasons import NotFollowedError, Reason
from sightline_server.index.replication.segment import damaged, decoded
from sightline_server.index.replication.share import OPERATIONS, PARTIAL, Share, away
from sightline_server.index.replication.tail import Segment, Tail

FOLDER = "operations"
"""The folder within a copy."""


class OperationsReader:
    """Reads what is published in `source` for the copy in `folder`. Blocking, one thread at a time.

    Of several processes that serve the copy, only one `keeps` what it applied; the others read that.
    """

    def __init__(self, source: Path, folder: Path, *, keeps: bool = True) -> None:
        self._share = Share(source)
        self._keeps = keeps
        self._kept = folder / FOLDER
        self._read: tuple[bytes, Tail] | None = None

    def published(self) -> Tail | None:
        """The published operations; None where there are none.

        Raises `NotFollowedError`: AWAY, INCOMPLETE or FORMAT.
        """
        data = self._share.operations()
        if data is None:
            return None
        if self._read is None or self._read[0] != data:
            self._read = data, Tail.parse(data)
        return self._read[1]

    def kept(self) -> Tail | None:
        """The operations that were applied before a restart; None where there are none, or they cannot be read."""
        try:
            return Tail.parse((self._kept / OPERATIONS).read_bytes())
        except (OSError, NotFollowedError):
            return None

    def operations(self, segment: Segment, layout: Layout) -> list[Operation]:
        """The operations of `segment`. Raises `NotFollowedError`: AWAY, INCOMPLETE, DAMAGED or FORMAT."""
        file = segment.file
        data = self._own(file)
        fetched = data is None
        if data is None:
            data = read_object(self._share, file)
            if hashlib.sha256(data).hexdigest() != file.sha256:
                raise damaged(segment.first, segment.last)
        found = decoded(data, segment.first, segment.last, layout)
        if fetched and self._keeps:
            self._keep(file.sha256, data)
        return found

    def applied(self, tail: Tail, base_seq: int) -> None:
        """Notes that the operations of `tail` are served, on a copy that has those until `base_seq`.

        Removes what is not needed to start again. A disk that is full changes nothing for what is served.
        """
        if not self._keeps:
            return
        needed = tail.joined(self.kept(), base_seq)
        self._keep(OPERATIONS, needed.to_bytes())
        used = {OPERATIONS, *(each.sha256 for each in needed.segments)}
        with suppress(OSError):
            for path in self._kept.iterdir():
                if path.name not in used:
                    path.unlink()

    def _own(self, file: PublishedFile) -> bytes | None:
        """The content of a kept file; None where it is not there or not what was published."""
        try:
            data = (self._kept / file.sha256).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == file.sha256 else None

    def _keep(self, name: str, data: bytes) -> None:
        # Not brought to the disk: what a power cut leaves is compared with its digest, and fetched again.
        partial = self._kept / f"{PARTIAL}{name}"
        with suppress(OSError):
            self._kept.mkdir(exist_ok=True)
            partial.write_bytes(data)
            partial.replace(self._kept / name)


def read_object(share: Share, file: PublishedFile) -> bytes:
    """The content of a published file, at most one byte more than its size.

    Raises `NotFollowedError`: AWAY, or INCOMPLETE where it is missing or shorter than it should be.
    """
    try:
        with share.object(file).open("rb") as source:
            data = source.read(file.size + 1)
    except FileNotFoundError as error:
        raise NotFollowedError(Reason.INCOMPLETE, f"{file.path} is not in {share.path} yet") from error
    except OSError as error:
        raise away(share.path, error) from error
    if len(data) < file.size:
        message = f"{file.path} in {share.path} has {len(data)} bytes, expected {file.size}"
        raise NotFollowedError(Reason.INCOMPLETE, message)
    return data
