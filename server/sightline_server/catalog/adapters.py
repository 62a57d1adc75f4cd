"""The adapters of a catalog, in its log: what `sightline adapt` has fitted, by the SHA-256 of its bytes.

    fitted adapter -> one transaction with the revision that names it -> read_adapter when that is opened
Rule: a revision names its adapter, so a rollback brings back the one that the content was searched by. A log gets the
table of adapters, and with it another format, with its first one: an earlier version of Sightline would search without
it.
"""

import hashlib
import sqlite3
from pathlib import Path

from sightline_server.catalog import generations
from sightline_server.catalog.generations import GENERATIONS_FORMAT
from sightline_server.catalog.log_file import FORMAT, damaged, reading, require_log, sqlite_errors

ADAPTERS_FORMAT = 4
"""The format of a log that has had an adapter."""
FORMATS = (FORMAT, GENERATIONS_FORMAT, ADAPTERS_FORMAT)
MIGRATION = (
    "CREATE TABLE adapters (sha256 TEXT PRIMARY KEY, content BLOB NOT NULL)",
    "ALTER TABLE revisions ADD COLUMN adapter TEXT NOT NULL DEFAULT ''",
)


def insert(connection: sqlite3.Connection, sha256: str, content: bytes) -> None:
    """Adds an adapter; the first addition gives the log its table."""
    if connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()[0] != ADAPTERS_FORMAT:
        generations.migrate(connection)
        for statement in MIGRATION:
            connection.execute(statement)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'format'", (ADAPTERS_FORMAT,))
    connection.execute("INSERT OR REPLACE INTO adapters VALUES (?, ?)", (sha256, content))


def sweep(connection: sqlite3.Connection) -> None:
    """Removes the adapters of revisions whose content was removed."""
    if connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()[0] == ADAPTERS_FORMAT:
        kept = "SELECT adapter FROM revisions WHERE base_version IS NOT NULL"
        connection.execute(f"DELETE FROM adapters WHERE sha256 NOT IN ({kept})")  # noqa: S608


def read_adapter(folder: Path, sha256: str) -> bytes:
    """The adapter that a revision of the catalog at `folder` names; without the lock.

    Raises `SightlineError` of kind CONFIGURATION where it is missing or not what was written.
    """
    path = require_log(folder)
    with sqlite_errors(path), reading(path) as connection:
        row = connection.execute("SELECT content FROM adapters WHERE sha256 = ?", (sha256,)).fetchone()
    if row is None or hashlib.sha256(row[0]).hexdigest() != sha256:
        raise damaged(path, f"the adapter {sha256[:12]} of a revision is missing or was changed")
    content: bytes = row[0]
    return content
