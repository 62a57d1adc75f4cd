"""The SQLite file that keeps files of a catalog's images: its kinds, its format, and the errors of its use.

Rule: a file is there as a whole or not at all; a catalog without it keeps none of that kind.
"""

import sqlite3
from collections.abc import Iterator
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
