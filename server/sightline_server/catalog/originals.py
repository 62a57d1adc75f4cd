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
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sightline_server.catalog.durable import sync
from sightline_server.catalog.log_file import BUSY_S, described
from sightline_server.catalog.refusals import refusal
from sightline_server.errors import ErrorKind, SightlineError

ORIGINALS = "originals.sqlite"
NEW = ".new"
FORMAT = 1
"""The `user_version` of the file."""
FILES = ("", "-wal", "-shm", "-journal")
"""The endings of the names of SQLite's files."""
TABLES = """
PRAGMA auto_vacuum = INCREMENTAL;
BEGIN;
CREATE TABLE files (
    number INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, sweep INTEGER NOT NULL
);
CREATE TABLE contents (number INTEGER PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE images (image BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX images_of_file ON images (number);
CREATE TABLE sweeps (count INTEGER NOT NULL);
INSERT INTO sweeps VALUES (1);
PRAGMA user_version = 1;
COMMIT;
"""
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
REMEDY = "restore it from a backup, or remove it: the products stay as they are, and no {} are kept then"
CHUNK = 512
"""Images that one transaction of a sweep removes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of files that are kept of images: the SQLite file, and in messages their name and that of one of them."""

    file: str
    name: str
    unit: str

    @property
    def remedy(self) -> str:
        """The remedy for a damaged file of this kind."""
        return REMEDY.format(self.name)


IMAGE_FILES = Kind(ORIGINALS, "originals", "image file")
FEATURE_FILES = Kind("local_features.sqlite", "local features", "feature file")
KINDS = (IMAGE_FILES, FEATURE_FILES)


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


def keeps_originals(folder: Path, kind: Kind = IMAGE_FILES) -> bool:
    """Returns whether the catalog in `folder` keeps files of `kind`."""
    return (folder / kind.file).is_file()


def create_originals(folder: Path, kind: Kind = IMAGE_FILES) -> None:
    """Makes the catalog in `folder` keep files of `kind` from now on. It is on the disk when this returns."""
    path, new = folder / kind.file, folder / f"{kind.file}{NEW}"
    try:
        with file_errors(path, kind.remedy):
            remove(new)
            with closing(sqlite3.connect(new, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous=FULL")
                connection.executescript(TABLES)
            # Before that, a crash or a full disk leaves no file that would be taken for a whole one.
            new.rename(path)
            sync(folder)
    except BaseException:
        with suppress(OSError):
            remove(new)
        raise


def discard_originals(folder: Path, kind: Kind = IMAGE_FILES) -> None:
    """Removes all files of `kind` of the catalog in `folder`, which keeps none from now on."""
    with file_errors(folder / kind.file, kind.remedy):
        remove(folder / kind.file)
        sync(folder)


def remove(path: Path) -> None:
    """Removes the file at `path` and those that SQLite has made next to it."""
    for ending in FILES:
        path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)


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


def read_only(path: Path, remedy: str) -> sqlite3.Connection:
    """A connection that changes nothing. Where the folder has no room for SQLite's shared memory, writes that are not
    yet in the file itself are not seen.
    """
    for mode in ("mode=ro", "mode=ro&immutable=1"):
        connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?{mode}", uri=True, timeout=BUSY_S)
        try:
            require_format(connection, path, remedy)
        except sqlite3.OperationalError:
            connection.close()
            if "immutable" in mode:
                raise
        except BaseException:
            connection.close()
            raise
        else:
            break
    return connection


def require_format(connection: sqlite3.Connection, path: Path, remedy: str) -> None:
    """Raises `SightlineError` of kind CONFIGURATION where `path` is not a file of kept files that is read here."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute("SELECT count FROM sweeps").fetchone()
    if version != FORMAT:
        raise unusable(path, f"it has format {version}, this version of Sightline reads {FORMAT}", remedy)


@contextmanager
def file_errors(path: Path, remedy: str) -> Iterator[None]:
    """Turns errors of the file at `path` into `SightlineError`; `remedy` is that of a damaged one."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED:
            raise unusable(path, str(error), remedy) from error
        raise described(path, error) from error
    except OSError as error:
        found = refusal(error, path.parent)
        raise SightlineError(found.kind, f"cannot use {path}: {found.reason}; {found.remedy}") from error


def unusable(path: Path, what: str, remedy: str) -> SightlineError:
    """The error of a file that is not what its name says, or is damaged."""
    return SightlineError(ErrorKind.CONFIGURATION, f"{path} cannot be used ({what}); {remedy}")
