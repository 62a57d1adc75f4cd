"""The operations that are published on top of revisions: the file `OPERATIONS` of a publication. Pure.

    sightline-operations 1 <SHA-256 of the rest>
    {"publication": ..., "sequence": ..., "since": ..., "base_seq": ..., "start": ..., "mark": ..., "segments": [...]}
Rule: segments follow each other without a gap, so that the first of them and the last operation say what is there.
Those that are in the revision before the current one are left out; a replica of an earlier one needs a newer revision.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Self

from sightline_server.index.replication.description import HEX, SHA256, Description, PublishedFile
from sightline_server.index.replication.reasons import NotFollowedError, Reason
from sightline_server.index.replication.sealed import sealed, unsealed

FORMAT = 1
MAGIC = "sightline-operations"


@dataclass(frozen=True, slots=True)
class Segment:
    """A file with the operations `first` to `last`; `published_at` is an ISO 8601 time with a time zone."""

    first: int
    last: int
    size: int
    sha256: str
    published_at: str

    @property
    def file(self) -> PublishedFile:
        """The file of the publication."""
        return PublishedFile(f"operations-{self.first}-{self.last}", self.size, self.sha256)


@dataclass(frozen=True, slots=True)
class Tail:
    """The published operations on top of revision `sequence`, and of those before it back to revision `since`.

    `base_seq` is the last operation that is in revision `sequence`; the segments have the operations after `start`.
    `mark` is the log's SHA-256 of the last one as hexadecimal digits, empty where none was published.
    """

    publication: str
    sequence: int
    since: int
    base_seq: int
    start: int
    mark: str = ""
    segments: tuple[Segment, ...] = ()

    @classmethod
    def on(cls, description: Description) -> Self:
        """No operations on top of `description`, which is of a catalog with a log."""
        assert description.living is not None
        seq = description.living.revision.seq
        return cls(description.publication, description.sequence, description.since, seq, seq)

    @property
    def last(self) -> int:
        """The last operation that was published."""
        return self.segments[-1].last if self.segments else self.start

    def rebased(self, description: Description) -> "Tail":
        """The operations that replicas of `description` and of the revision before it may need."""
        fresh = Tail.on(description)
        same = description.publication == self.publication
        if not same or description.since > self.sequence or description.sequence < self.sequence:
            return fresh
        if description.sequence == self.sequence:
            return self
        kept = tuple(each for each in self.segments if each.last > self.base_seq)
        start = kept[0].first - 1 if kept else self.last
        return replace(fresh, start=start, mark=self.mark, segments=kept)

    def extended(self, segment: Segment, mark: bytes) -> "Tail":
        """With one more segment, which ends in an operation whose SHA-256 is `mark`."""
        return replace(self, segments=(*self.segments, segment), mark=mark.hex())

    def fits(self, base: Description) -> bool:
        """Returns whether the operations after those of `base` can be applied to it."""
        return base.publication == self.publication and self.since <= base.sequence <= self.sequence

    def is_ahead(self, base: Description, seq: int) -> bool:
        """Returns whether the writer has more than a replica of `base` that serves the operations until `seq`.

        Operations on an earlier revision than `base` say nothing: they may be of before a rollback.
        """
        if base.publication != self.publication or self.since > base.sequence:
            return base.publication != self.publication or self.sequence > base.sequence
        return self.sequence >= base.sequence and self.last > seq

    def after(self, seq: int) -> tuple[Segment, ...]:
        """The segments with operations after `seq`; none where the first of these is not published.

        Such a replica needs the next revision.
        """
        needed = tuple(each for each in self.segments if each.last > seq)
        return needed if needed and needed[0].first <= seq + 1 else ()

    def joined(self, before: "Tail | None", seq: int) -> "Tail":
        """With the segments of `before` that have operations after `seq` and are not published any more.

        A replica that cannot take newer revisions needs them to start again.
        """
        if before is None or (before.publication, before.since) != (self.publication, self.since):
            return self
        earlier = tuple(each for each in before.segments if seq < each.last <= self.start)
        if not earlier or earlier[-1].last != self.start:
            return self
        return replace(self, start=earlier[0].first - 1, segments=(*earlier, *self.segments))

    def to_bytes(self) -> bytes:
        """The text of the file."""
        return sealed(MAGIC, FORMAT, json.dumps(asdict(self)).encode())

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The reverse of `to_bytes`. Raises `NotFollowedError`: INCOMPLETE for a part of one, else FORMAT."""
        body = unsealed(MAGIC, FORMAT, data, "the operations were")
        try:
            return cls._of_fields(json.loads(body))
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            message = "the description of the published operations has unexpected fields; publish the catalog again"
            raise NotFollowedError(Reason.FORMAT, message) from error

    @classmethod
    def _of_fields(cls, fields: dict[str, Any]) -> Self:
        found = cls(
            publication=str(fields["publication"]),
            sequence=int(fields["sequence"]),
            since=int(fields["since"]),
            base_seq=int(fields["base_seq"]),
            start=int(fields["start"]),
            mark=str(fields["mark"]),
            segments=tuple(Segment(**each) for each in fields["segments"]),
        )
        if not HEX.fullmatch(found.publication):
            raise ValueError("its publication is not valid")
        following = found.start + 1
        for each in found.segments:
            if not SHA256.fullmatch(each.sha256) or each.size < 0 or each.first > each.last:
                raise ValueError("a segment of it is not valid")
            if datetime.fromisoformat(each.published_at).tzinfo is None:
                raise ValueError("the time of a segment has no time zone")
            if each.first != following:
                raise ValueError("a segment does not follow the one before")
            following = each.last + 1
        return found
