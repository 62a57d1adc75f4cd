"""The outcome of writes to a catalog: the receipt of a group, and the revisions that it can go back to."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Receipt:
    """The outcome of a group: `seqs` has the sequence number of each write, or 0 where there was no such row, or -1
    where the row had another etag than the caller stated.

    `repeated` says that a request of this id had been written before; nothing was written again.
    """

    seqs: tuple[int, ...]
    repeated: bool = False


class RevisionKind(Enum):
    """The reason for a revision."""

    BUILD = "build"
    CHECKPOINT = "checkpoint"
    ROLLBACK = "rollback"
    PREPARED = "prepared"
    """The content in another generation, before a rollback to it makes that the current one."""
    ADAPTED = "adapted"
    """The same content with another adapter, or without one."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision: the version of the base that holds it, the last sequence number in it, and its content's facts.

    `items` is the number of vectors, `most_items` a bound for one row. `base_version` is None once its content was
    removed. `created_at` is an ISO 8601 time. `generation` counts the embedders that the catalog was embedded by; each
    has its own base. `adapter` is the SHA-256 of the adapter by which its vectors are searched, empty without one.
    """

    number: int
    base_version: int | None
    seq: int
    digest: str
    rows: int
    items: int
    most_items: int
    created_at: str
    kind: RevisionKind
    note: str = ""
    actor: str = ""
    generation: int = 1
    adapter: str = ""

    @property
    def name(self) -> str:
        """The number and the first digits of what is searched, as answers and metrics show it."""
        return f"{self.number}-{self.mark}"

    @property
    def mark(self) -> str:
        """Twelve digits that tell contents apart: of the digest, or of the digest with the adapter."""
        if not self.adapter:
            return self.digest[:12]
        return hashlib.sha256(f"{self.digest}{self.adapter}".encode()).hexdigest()[:12]


def current_revision(revisions: Sequence[Revision]) -> Revision:
    """The revision that a catalog has, of all `revisions`, the newest first; a prepared one is not current."""
    return next(each for each in revisions if each.kind is not RevisionKind.PREPARED)
