"""The revisions of a catalog: every state that it can go back to.

Rule: a revision is ordered by its number, never by its time, because a clock can jump. Numbers are never used again.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any


class RevisionKind(Enum):
    """The reason for a revision."""

    BUILD = "build"
    CHECKPOINT = "checkpoint"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision: the version of the base that holds it, the last sequence number in it, and its content's facts.

    `items` is the number of vectors, `most_items` a bound for one row. `base_version` is None once its content was
    removed. `created_at` is an ISO 8601 time.
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

    @property
    def name(self) -> str:
        """The number and the first digits of the digest, as answers and metrics show it."""
        return f"{self.number}-{self.digest[:12]}"


INSERT = "INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
SELECT = """
SELECT number, base_version, seq, digest, row_count, item_count, most_items, created_at, kind, note, actor
FROM revisions ORDER BY number DESC
"""


def insert(connection: sqlite3.Connection, revision: Revision) -> None:
    """Adds `revision`."""
    values = (
        *(revision.number, revision.base_version, revision.seq, revision.digest, revision.rows, revision.items),
        *(revision.most_items, revision.created_at, revision.kind.value, revision.note, revision.actor),
    )
    connection.execute(INSERT, values)


def select(connection: sqlite3.Connection) -> list[Revision]:
    """All revisions, the newest first."""
    return [revision_of(row) for row in connection.execute(SELECT)]


def revision_of(row: Sequence[Any]) -> Revision:
    """The revision of a row of `SELECT`."""
    number, version, seq, digest, rows, items, most, created_at, kind, note, actor = row
    return Revision(
        number, version, seq, digest, rows, items, most, created_at, RevisionKind(kind), note=note, actor=actor
    )
