"""The original files of a catalog's images, in `DIR/originals.sqlite`; a catalog without that file keeps none.

Local features of images are kept in the same way, in a file of another `Kind`.

    file -> add (once, by its SHA-256) -> link (the stored image that was made from it) -> content of that image
Rule: a linked file is on the disk before the row that needs it is written. Files that no image needs are removed by
`sweep`, but for those that were added lately, whose rows may be on their way.
"""

import hashlib
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sightline_server.catalog.log_file import BUSY_S
from sightline_server.catalog.originals_file import FILES, IMAGE_FILES, Kind, file_errors, read_only, require_format

CHUNK = 512
"""Images that one transaction of a sweep removes."""


@dataclass(frozen=True, slots=True)
class OriginalsSize:
    """The number of `files`, their `content_bytes`, and the `disk_bytes` that they take together."""

    files: int
    content_bytes: int
    disk_bytes: int


class Originals:
    """The files of `kind` of the catalog in `folder`; any thread may call it. Only the catalog's writer may sweep.

    An image is named by bytes that no other image has: of originals, by its link and its embedding. All methods raise
    `SightlineError`: OVERLOADED for a full disk, CONFIGURATION for a damaged file, INDEX_UNAVAILABLE for others of the
    disk's errors.
    """

    def __init__(self, folder: Path, kind: Kind = IMAGE_FILES) -> None:
        self._path = folder / kind.file
        self._remedy = kind.remedy
        self._lock = threading.Lock()
        with file_errors(self._path, self._remedy):
            self._connection = sqlite3.connect(
                self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                require_format(self._connection, self._path, self._remedy)
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=NORMAL")
            except BaseException:
                self._connection.close()
                raise

    def add(self, content: bytes) -> str:
        """Stores a file, unless it is there. Returns its SHA-256 in hexadecimal digits.

        It is on the disk once an image is linked with it.
        """
        sha256 = hashlib.sha256(content).digest()
        with self._transaction() as connection:
            (sweep,) = connection.execute("SELECT count FROM sweeps").fetchone()
            known = connection.execute("UPDATE files SET sweep = ? WHERE sha256 = ?", (sweep, sha256))
            if not known.rowcount:
                values = (sha256, len(content), sweep)
                cursor = connection.execute("INSERT INTO files (sha256, size, sweep) VALUES (?, ?, ?)", values)
                connection.execute("INSERT INTO contents VALUES (?, ?)", (cursor.lastrowid, content))
        return sha256.hex()

    def link(self, images: Iterable[tuple[bytes, str]]) -> None:
        """Notes the file of each of `images`, durably. A file that is not there is left out."""
        pairs = [(image, bytes.fromhex(sha256)) for image, sha256 in images]
        if not pairs:
            return
        with self._transaction(durable=True) as connection:
            connection.executemany("INSERT OR REPLACE INTO images SELECT ?, number FROM files WHERE sha256 = ?", pairs)

    def name(self, image: bytes) -> str:
        """The SHA-256 of the file that an image was made from, in hexadecimal digits; empty where none is kept."""
        query = "SELECT sha256 FROM images JOIN files USING (number) WHERE image = ?"
        with self._lock, file_errors(self._path, self._remedy):
            row = self._connection.execute(query, (image,)).fetchone()
        return "" if row is None else row[0].hex()

    def content(self, image: bytes) -> bytes | None:
        """The file that an image was made from; None where none is kept, or the kept one is damaged."""
        query = (
            "SELECT sha256, content FROM images JOIN files USING (number) JOIN contents USING (number) WHERE image = ?"
        )
        with self._lock, file_errors(self._path, self._remedy):
            row = self._connection.execute(query, (image,)).fetchone()
        if row is None or hashlib.sha256(row[1]).digest() != row[0]:
            return None
        content: bytes = row[1]
        return content

    def sweep(self, needed: Collection[bytes], *, idle: bool = False) -> int:
        """Removes every image that is not `needed`, then files without an image. Returns the number of those files.

        Files that were added since the sweep before this one stay, unless `idle` says that no row is on its way.
        """
        with self._transaction() as connection:
            connection.execute("UPDATE sweeps SET count = count + 1")
            (count,) = connection.execute("SELECT count FROM sweeps").fetchone()
            linked = [image for (image,) in connection.execute("SELECT image FROM images")]
        dead = [image for image in linked if image not in needed]
        for start in range(0, len(dead), CHUNK):
            with self._transaction() as connection:
                chunk = [(image,) for image in dead[start : start + CHUNK]]
                connection.executemany("DELETE FROM images WHERE image = ?", chunk)
        return self._remove_files(before=count if idle else count - 1)

    def _remove_files(self, before: int) -> int:
        """Removes files that no image has and that were added before sweep `before`."""
        query = (
            "SELECT number FROM files WHERE sweep < ? AND NOT EXISTS "
            "(SELECT 1 FROM images WHERE images.number = files.number) LIMIT ?"
        )
        removed = 0
        while True:
            with self._transaction() as connection:
                numbers = connection.execute(query, (before, CHUNK)).fetchall()
                connection.executemany("DELETE FROM contents WHERE number = ?", numbers)
                connection.executemany("DELETE FROM files WHERE number = ?", numbers)
            removed += len(numbers)
            if not numbers:
                break
        if removed:
            with self._lock, file_errors(self._path, self._remedy):
                # Each step of this statement frees one page, and `execute` makes the first step only.
                self._connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")
        return removed

    def seal(self) -> None:
        """Leaves one file, which a user who can only read can open; for a catalog without a writer."""
        with self._lock, file_errors(self._path, self._remedy):
            self._connection.execute("PRAGMA journal_mode=DELETE")

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction. With `durable` it is on the disk at the end, and all earlier ones with it."""
        with self._lock, file_errors(self._path, self._remedy):
            if durable:
                self._connection.execute("PRAGMA synchronous=FULL")
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if durable:
                    self._connection.execute("PRAGMA synchronous=NORMAL")


def originals_size(folder: Path, kind: Kind = IMAGE_FILES) -> OriginalsSize | None:
    """The size of the files of `kind` of the catalog in `folder`, None where it keeps none. Needs no lock."""
    path = folder / kind.file
    if not path.is_file():
        return None
    with file_errors(path, kind.remedy), closing(read_only(path, kind.remedy)) as connection:
        files, content = connection.execute("SELECT count(*), coalesce(sum(size), 0) FROM files").fetchone()
    sizes = (folder / f"{kind.file}{ending}" for ending in FILES)
    return OriginalsSize(files, content, sum(each.stat().st_size for each in sizes if each.is_file()))


def damaged_files(folder: Path, kind: Kind = IMAGE_FILES) -> Iterator[str]:
    """The SHA-256 of each file of `kind` of the catalog in `folder` that is not what was stored. Needs no lock."""
    query = "SELECT sha256, content FROM files LEFT JOIN contents USING (number)"
    path = folder / kind.file
    with file_errors(path, kind.remedy), closing(read_only(path, kind.remedy)) as connection:
        for sha256, content in connection.execute(query):
            if content is None or hashlib.sha256(content).digest() != sha256:
                yield sha256.hex()
