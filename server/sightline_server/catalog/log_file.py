"""The file `log.sqlite`: its tables, and how it is opened for writing and for reading.

Rule: WAL and synchronous=FULL: a transaction that was committed is on the disk. Errors of SQLite become errors that
name the file and the remedy.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from sightline_server.catalog.refusals import FULL_BYTES, is_full, refusal
from sightline_server.errors import ErrorKind, SightlineError

LOG = "log.sqlite"
FORMAT = 2
"""The format of a catalog with a log; a catalog without one has format 1."""
SYNCHRONOUS = "FULL"
BUSY_S = 10.0
READ_ATTEMPTS = 5
MEMORY = "/dev/shm"  # noqa: S108
"""A folder in memory."""
NO_SHARED_MEMORY = (
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL),
    *(sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP),
)
"""Errors of SQLite where it cannot make its shared memory."""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE ops (seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, id TEXT NOT NULL, row BLOB, sha256 BLOB NOT NULL);
CREATE TABLE requests (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL UNIQUE, fingerprint BLOB NOT NULL,
    seqs TEXT NOT NULL
);
CREATE TABLE revisions (
    number INTEGER PRIMARY KEY, base_version INTEGER, seq INTEGER NOT NULL, digest TEXT NOT NULL,
    row_count INTEGER NOT NULL, item_count INTEGER NOT NULL, most_items INTEGER NOT NULL, created_at TEXT NOT NULL,
    kind TEXT NOT NULL, note TEXT NOT NULL, actor TEXT NOT NULL
);
"""


def open_for_writing(path: Path) -> sqlite3.Connection:
    """A connection that may write; the caller holds the catalog's lock. Transactions begin and end by statements."""
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={SYNCHRONOUS}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """One consistent view of the log at `path`, also in a folder that may not be written to, or on a full disk."""
    # SQLite follows links, and its other files are next to the file itself.
    path = path.resolve()
    with ExitStack() as stack:
        connection = guarded(path)
        for _ in range(READ_ATTEMPTS):
            if connection is not None:
                break
            connection = unguarded(path, stack)
        if connection is None:
            message = f"{path} changes again and again while it is read; try again"
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, message)
        with closing(connection):
            yield connection


def guarded(path: Path) -> sqlite3.Connection | None:
    """A connection within a read transaction, which writers respect; None where the folder has no room for that."""
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        # SQLite's shared memory is a file next to the log; a user who can only read, or a full disk, cannot make it.
        if error.sqlite_errorcode in NO_SHARED_MEMORY or error.sqlite_errorcode & 0xFF in NO_SHARED_MEMORY:
            return None
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def unguarded(path: Path, stack: ExitStack) -> sqlite3.Connection | None:
    """A connection to a copy of the log, which lasts as long as `stack`; None when the log changed meanwhile."""
    wal = path.with_name(f"{path.name}-wal")
    before = stamp(path), stamp(wal)
    needed = sum(each[1] for each in before if each is not None)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sightline-log-", dir=roomy_folder(needed)))
    copy = Path(folder) / path.name
    shutil.copyfile(path, copy)
    if before[1] is not None:
        shutil.copyfile(wal, copy.with_name(wal.name))
    if (stamp(path), stamp(wal)) != before:
        return None
    return sqlite3.connect(copy, isolation_level=None)


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that hold the transactions of the log at `path`."""
    real = path.resolve()
    return path, real.with_name(f"{real.name}-wal")


def identity(path: Path) -> tuple[int, int] | None:
    """The file that `path` names, as device and inode; None without one."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def roomy_folder(needed: int) -> str:
    """A folder for `needed` bytes of temporary files: the usual one, or memory where that one is full."""
    usual = tempfile.gettempdir()
    return next((each for each in (usual, MEMORY) if has_room(each, needed)), usual)


def has_room(folder: str, needed: int) -> bool:
    """Returns whether files of `needed` bytes fit into `folder`."""
    try:
        return shutil.disk_usage(folder).free > needed + FULL_BYTES
    except OSError:
        return False


def stamp(path: Path) -> tuple[int, int, int] | None:
    """Facts of a file that change with its content; None without a file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into `SightlineError`.

    Its kind is OVERLOADED when the disk is full, INDEX_UNAVAILABLE when the file cannot be written, and CONFIGURATION
    when it is damaged or may not be read.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise described(path, error) from error
    except OSError as error:
        found = refusal(error, path.parent)
        message = f"cannot read {path}: {found.reason}; {found.remedy}"
        raise SightlineError(found.kind, message) from error


def described(path: Path, error: sqlite3.Error) -> SightlineError:
    """The error of the log at `path`."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # SQLite reports a full disk as such for its log alone, not for its shared memory.
    unclear = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
    if code == sqlite3.SQLITE_FULL or (unclear and is_full(path.parent)):
        message = f"cannot write {path}: the disk is full; free some space and write again. Nothing of it was written"
        return SightlineError(ErrorKind.OVERLOADED, message)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or isinstance(error, sqlite3.ProgrammingError):
        return damaged(path, str(error))
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        message = f"cannot open {path} ({error}); check that this user may read and write its folder"
        return SightlineError(ErrorKind.CONFIGURATION, message)
    if code == sqlite3.SQLITE_ERROR:  # a table or a column that is not there
        return damaged(path, str(error))
    message = f"cannot use {path} ({error}); check the disk and its free space, then try again"
    return SightlineError(ErrorKind.INDEX_UNAVAILABLE, message)


def damaged(path: Path, what: str) -> SightlineError:
    """The error of a log that cannot be trusted."""
    message = f"{path} is damaged ({what}); restore the catalog's folder from a backup, or build the catalog again"
    return SightlineError(ErrorKind.CONFIGURATION, message)


def require_log(folder: Path) -> Path:
    """The log of the catalog at `folder`. Raises `SightlineError` of kind CONFIGURATION when it is not there."""
    path = folder / LOG
    if not path.is_file():
        message = (
            f"{path} is missing, so nothing says which version of the catalog is the last one; restore it from a "
            f"backup, or build the catalog again: sightline catalog build FEED --out {folder} --replace "
            "--discard-revisions"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    return path
