"""The log: groups of operations, each durable as a whole before it is acknowledged, and the state of the base.

Rule: the recorded version of the base is the truth, never the newest one on the disk. One transaction names a new
version and drops the operations that are in it.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sightline_server.catalog import adapters, generations, revisions
from sightline_server.catalog.adapters import FORMATS
from sightline_server.catalog.generations import Generation
from sightline_server.catalog.grouping import NewRequest, other_content
from sightline_server.catalog.log_file import (
    FORMAT,
    TABLES,
    damaged,
    files_of,
    identity,
    open_for_writing,
    reading,
    require_log,
    sqlite_errors,
)
from sightline_server.catalog.operations import Layout, Operation, OpKind
from sightline_server.catalog.revisions import Revision, current_revision
from sightline_server.errors import ErrorKind, SightlineError

MAX_REQUESTS = 100_000
"""Request ids that are remembered; the oldest ones are dropped first."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The content of a log: the generations of the catalog by number, its revisions, newest first, the current one of
    them, and operations on top of that which are not yet in its base."""

    generations: Mapping[int, Generation]
    revisions: tuple[Revision, ...]
    current: Revision
    operations: tuple[Operation, ...]

    @property
    def layout(self) -> Layout:
        """The columns of the current revision."""
        return self.generations[self.current.generation].layout

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that the current generation was made with."""
        return self.generations[self.current.generation].facts

    @property
    def base_version(self) -> int:
        """The version of the base that counts."""
        version = self.current.base_version
        assert version is not None
        return version

    @property
    def last_seq(self) -> int:
        """The sequence number of the last operation."""
        return self.operations[-1].seq if self.operations else self.current.seq


class Log:
    """The writer's side of the log at `path`; its caller holds the catalog's lock and calls from one thread at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with sqlite_errors(path):
            self._connection = open_for_writing(path)
        self._epoch = 0
        self._files: dict[Path, tuple[int, int] | None] = {}

    def begin(self) -> int:
        """Writes a new epoch, which ends that of every writer before. Returns it."""
        with self.transaction(check=False):
            self._epoch = int(self._meta("epoch")) + 1
            self._connection.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (self._epoch,))
        self._files = {each: identity(each) for each in files_of(self._path)}
        return self._epoch

    def read(self) -> Recorded:
        """All that is recorded. Raises `SightlineError` of kind CONFIGURATION when it is damaged."""
        with sqlite_errors(self._path):
            return recorded(self._connection, self._path)

    def known_request(self, request_id: str, fingerprint: bytes) -> tuple[int, ...] | None:
        """The sequence numbers of a request that was written before, None for a new one.

        Raises `SightlineError` of kind INVALID_REQUEST when its content was another one.
        """
        with sqlite_errors(self._path):
            query = "SELECT fingerprint, seqs FROM requests WHERE request_id = ?"
            row = self._connection.execute(query, (request_id,)).fetchone()
        if row is None:
            return None
        if row[0] != fingerprint:
            raise other_content()
        return tuple(json.loads(row[1]))

    def append(self, operations: Sequence[Operation], requests: Iterable[NewRequest] = ()) -> int:
        """Writes a group: all of it is on the disk when this returns, or none of it will ever be read.

        Returns the bytes of its rows.
        """
        rows = [stored(operation) for operation in operations]
        with self.transaction():
            self._connection.executemany("INSERT INTO ops VALUES (?, ?, ?, ?, ?)", rows)
            for request in requests:
                values = (request.request_id, request.mark, json.dumps(list(request.seqs)))
                cursor = self._connection.execute(
                    "INSERT INTO requests (request_id, fingerprint, seqs) VALUES (?, ?, ?)", values
                )
                oldest = (cursor.lastrowid or 0) - MAX_REQUESTS
                self._connection.execute("DELETE FROM requests WHERE ordinal <= ?", (oldest,))
        return sum(len(row or b"") for _, _, _, row, _ in rows)

    def record(self, revision: Revision, adapter: bytes = b"") -> None:
        """Makes `revision` the current one and drops the operations that are in it.

        `adapter` is that of the revision where no earlier one has it.
        """
        with self.transaction():
            if adapter:
                adapters.insert(self._connection, revision.adapter, adapter)
            revisions.insert(self._connection, revision)
            self._connection.execute("DELETE FROM ops WHERE seq <= ?", (revision.seq,))

    def prepare(self, generation: Generation, origins: Mapping[bytes, bytes], revision: Revision) -> None:
        """Names a new generation and its first revision, which does not become the current one."""
        with self.transaction():
            generations.insert(self._connection, generation, origins)
            revisions.insert(self._connection, revision)

    def origins(self, generation: int) -> dict[bytes, bytes]:
        """The origin of each mark of a generation that is noted."""
        with sqlite_errors(self._path):
            return generations.select_origins(self._connection, generation)

    def move(self, number: int, base_version: int) -> None:
        """Notes that revision `number` is held by another version of the base."""
        with self.transaction():
            self._connection.execute("UPDATE revisions SET base_version = ? WHERE number = ?", (base_version, number))

    def forget(self, numbers: Iterable[int]) -> None:
        """Notes that the content of the revisions `numbers` is removed."""
        with self.transaction():
            statement = "UPDATE revisions SET base_version = NULL WHERE number = ?"
            self._connection.executemany(statement, [(number,) for number in numbers])
            adapters.sweep(self._connection)

    def shrink(self) -> None:
        """Gives the space of dropped operations back to the disk."""
        with sqlite_errors(self._path):
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    @contextmanager
    def transaction(self, *, check: bool = True) -> Iterator[None]:
        """One transaction of this epoch. Raises `SightlineError`, and writes nothing then."""
        self._require_files()
        with sqlite_errors(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                if check and int(self._meta("epoch")) != self._epoch:
                    message = f"another writer has taken over {self._path}; open the catalog again"
                    raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, message)
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite itself has already ended a transaction that met a full disk.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _require_files(self) -> None:
        """Raises `SightlineError` when a file was removed or replaced, since what is written then would be lost."""
        for path, before in self._files.items():
            if identity(path) != before:
                message = (
                    f"{path} was removed or replaced while it was written to, so nothing more is written; put it back, "
                    "or restore the catalog's folder from a backup, and open the catalog again"
                )
                raise SightlineError(ErrorKind.CONFIGURATION, message)

    def _meta(self, key: str) -> Any:
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise damaged(self._path, f"it has no {key}")
        return row[0]


def create(path: Path, layout: Layout, facts: Mapping[str, Any], first: Revision) -> None:
    """Makes the log of a catalog with one revision. The caller brings `path` and its folder to the disk."""
    with sqlite_errors(path):
        connection = open_for_writing(path)
        try:
            connection.executescript(f"BEGIN; {TABLES}")
            values = {
                "format": FORMAT,
                "epoch": 0,
                "schema": layout.schema.serialize().to_pybytes(),
                "heavy": json.dumps(layout.heavy),
                "facts": json.dumps(facts),
            }
            connection.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
            revisions.insert(connection, first)
            connection.execute("COMMIT")
        finally:
            connection.close()


def read_recorded(folder: Path) -> Recorded:
    """All that the log of the catalog at `folder` records, read without the lock.

    Raises `SightlineError` of kind CONFIGURATION when it is missing or damaged.
    """
    path = require_log(folder)
    with sqlite_errors(path), reading(path) as connection:
        return recorded(connection, path)


def read_current(folder: Path) -> Revision:
    """The current revision of the catalog at `folder`, without its operations. Errors as `read_recorded`."""
    path = require_log(folder)
    with sqlite_errors(path), reading(path) as connection:
        try:
            return current_revision(tuple(revisions.select(connection)))
        except (KeyError, ValueError, TypeError) as error:
            raise damaged(path, "its description cannot be read") from error
        except StopIteration as error:
            raise damaged(path, "it names no revision") from error


def recorded(connection: sqlite3.Connection, path: Path) -> Recorded:
    """All that is recorded in the log of `connection`."""
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    if meta.get("format") not in FORMATS:
        message = (
            f"{path} has format {meta.get('format')}, this version of Sightline reads {FORMATS[-1]}; build it again"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    try:
        known = generations.select(connection, meta)
        found = tuple(revisions.select(connection))
        current = current_revision(found)
        layout = known[current.generation].layout
    except (KeyError, ValueError, TypeError, pa.ArrowException) as error:
        raise damaged(path, "its description cannot be read") from error
    except StopIteration as error:
        raise damaged(path, "it names no revision") from error
    if current.base_version is None or not {each.generation for each in found} <= known.keys():
        raise damaged(path, "it names no revision")
    rows = connection.execute("SELECT seq, kind, id, row, sha256 FROM ops ORDER BY seq")
    operations = tuple(parsed(row, layout, path) for row in rows)
    for expected, operation in enumerate(operations, current.seq + 1):
        if operation.seq != expected:
            raise damaged(path, f"operation {expected} is missing")
    return Recorded(known, found, current, operations)


def stored(operation: Operation) -> tuple[int, int, str, bytes | None, bytes]:
    """An operation as the log keeps it."""
    row = None if operation.row is None else operation.row.serialize().to_pybytes()
    return operation.seq, int(operation.kind), operation.id, row, checksum(operation.seq, operation.id, row)


def parsed(row: tuple[int, int, str, bytes | None, bytes], layout: Layout, path: Path) -> Operation:
    """The reverse of `stored`. Raises `SightlineError` of kind CONFIGURATION for a row that was changed."""
    seq, number, row_id, data, sha256 = row
    if checksum(seq, row_id, data) != sha256:
        raise damaged(path, f"operation {seq} is not what was written")
    try:
        kind = OpKind(number)
        schema = layout.of(kind)
        batch = None if schema is None else pa.ipc.read_record_batch(pa.py_buffer(data), schema)
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise damaged(path, f"operation {seq} cannot be read") from error
    return Operation(seq, kind, row_id, batch)


def checksum(seq: int, row_id: str, row: bytes | None) -> bytes:
    """SHA-256 over an operation."""
    key = row_id.encode()
    return hashlib.sha256(seq.to_bytes(8, "big") + len(key).to_bytes(8, "big") + key + (row or b"")).digest()
