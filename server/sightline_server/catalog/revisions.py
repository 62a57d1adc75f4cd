"""The revisions of a catalog: every state that it can go back to.

Rule: a revision is ordered by its number, never by its time, because a clock can jump. Numbers are never used again.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from sightline_server.domain.revisions import Revision as Revision
from sightline_server.domain.revisions import RevisionKind as RevisionKind
from sightline_server.errors import ErrorKind, SightlineError


def kept_revision(revisions: Sequence[Revision], number: int) -> Revision:
    """Revision `number` of `revisions`, the newest first.

    Raises `SightlineError` of kind INVALID_REQUEST where there is none, or its content was removed.
    """
    found = next((each for each in revisions if each.number == number), None)
    if found is None:
        message = f"there is no revision {number}; the newest one is {revisions[0].number}"
        raise SightlineError(ErrorKind.INVALID_REQUEST, message)
    if found.base_version is None:
        oldest = min(each.number for each in revisions if each.base_version is not None)
        message = f"the content of revision {number} was removed; the oldest one kept is {oldest}"
        raise SightlineError(ErrorKind.INVALID_REQUEST, message)
    return found


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
