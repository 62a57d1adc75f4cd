"""The end of a log, as it is recorded: the operations after a given one, for those that publish them.

Rule: reads only, and without the lock, next to the writer. Rows are passed on as the log keeps them; a reader of them
checks each by its checksum.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline_server.catalog import revisions
from sightline_server.catalog.log import parsed
from sightline_server.catalog.log_file import damaged, reading, require_log, sqlite_errors
from sightline_server.catalog.operations import Layout, Operation
from sightline_server.catalog.revisions import Revision, current_revision

StoredRow = tuple[int, int, str, bytes | None, bytes]
"""Sequence number, kind, id, row and SHA-256 of an operation, as `log.stored` makes them."""


@dataclass(frozen=True, slots=True)
class LogTail:
    """The revisions of a catalog, newest first, and operations that are not yet in its base.

    `rows` are the first of those after the operation that was named, and `mark` is the SHA-256 of that one: None where
    it is not in the log any more. `last_seq` is the last operation of the catalog.
    """

    revisions: tuple[Revision, ...]
    last_seq: int
    mark: bytes | None
    rows: tuple[StoredRow, ...]

    @property
    def current(self) -> Revision:
        """The revision that the catalog has."""
        return current_revision(self.revisions)


def read_log_tail(folder: Path, after: int, *, most: int, most_bytes: int) -> LogTail:
    """The operations after operation `after` of the catalog at `folder`: at most `most`, and about `most_bytes`.

    Raises `SightlineError` of kind CONFIGURATION when the log is missing or damaged.
    """
    path = require_log(folder)
    with sqlite_errors(path), reading(path) as connection:
        try:
            found = tuple(revisions.select(connection))
            current = current_revision(found)
        except (KeyError, ValueError, TypeError) as error:
            raise damaged(path, "its description cannot be read") from error
        except StopIteration as error:
            raise damaged(path, "it names no revision") from error
        last = connection.execute("SELECT max(seq) FROM ops").fetchone()[0]
        mark = connection.execute("SELECT sha256 FROM ops WHERE seq = ?", (after,)).fetchone()
        rows = tuple(bounded(connection, after, most, most_bytes))
    return LogTail(found, max(last or 0, current.seq), None if mark is None else bytes(mark[0]), rows)


def bounded(connection: sqlite3.Connection, after: int, most: int, most_bytes: int) -> Iterator[StoredRow]:
    """The rows after `after` within the bounds; one alone may exceed them."""
    query = "SELECT seq, kind, id, row, sha256 FROM ops WHERE seq > ? ORDER BY seq LIMIT ?"
    size = 0
    for seq, kind, row_id, row, sha256 in connection.execute(query, (after, most)):
        size += len(row or b"")
        yield seq, kind, row_id, row, sha256
        if size >= most_bytes:
            return


def operations_of(rows: Sequence[StoredRow], layout: Layout, source: Path) -> list[Operation]:
    """The operations of `rows`. Raises `SightlineError` of kind CONFIGURATION for one that was changed."""
    return [parsed(row, layout, source) for row in rows]
