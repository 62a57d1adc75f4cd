"""The revisions of a catalog: every state that it can go back to.

Rule: a revision is ordered by its number, never by its time, because a clock can jump. Numbers are never used again.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from sightline_server.domain.revisions import Revision as Revision
from sightline_server.domain.revisions import RevisionKind as RevisionKind
from sightline_server.domain.revisions import current_revision as current_revision
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


COLUMNS = (
    *("number", "base_version", "seq", "digest", "row_count", "item_count", "most_items", "created_at", "kind"),
    *("note", "actor"),
)
GENERATION = "generation"
"""The column that a log with one generation does not have."""


ADAPTER = "adapter"
"""The column that a log without any adapter does not have."""


def columns(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The columns of the revisions of this log."""
    known = {row[1] for row in connection.execute("PRAGMA table_info(revisions)")}
    return (*COLUMNS, *(name for name in (GENERATION, ADAPTER) if name in known))


def insert(connection: sqlite3.Connection, revision: Revision) -> None:
    """Adds `revision`."""
    values = (
        *(revision.number, revision.base_version, revision.seq, revision.digest, revision.rows, revision.items),
        *(revision.most_items, revision.created_at, revision.kind.value, revision.note, revision.actor),
        *(revision.generation, revision.adapter),
    )
    names = columns(connection)
    marks = ", ".join("?" * len(names))
    connection.execute(f"INSERT INTO revisions ({', '.join(names)}) VALUES ({marks})", values[: len(names)])  # noqa: S608


def select(connection: sqlite3.Connection) -> list[Revision]:
    """All revisions, the newest first."""
    query = f"SELECT {', '.join(columns(connection))} FROM revisions ORDER BY number DESC"  # noqa: S608
    return [revision_of(row) for row in connection.execute(query)]


def revision_of(row: Sequence[Any]) -> Revision:
    """The revision of a row of `columns`."""
    number, version, seq, digest, rows, items, most, created_at, kind, *named = row
    return Revision(number, version, seq, digest, rows, items, most, created_at, RevisionKind(kind), *named)
