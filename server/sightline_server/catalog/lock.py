"""The lock of a catalog's only writer: `DIR/LOCK`, which the kernel frees with the process.

Rule: the file stays; only the lock on it counts. A folder that was replaced between opening and locking is tried again.
"""

import fcntl
import os
from pathlib import Path

from sightline_server.catalog.refusals import refusal
from sightline_server.errors import ErrorKind, SightlineError

LOCK = "LOCK"


class WriterLock:
    """The lock of the catalog at `folder`, held from `acquire` to `release`.

    With another `file` than `LOCK`, `folder` is one that holds catalogs.
    """

    def __init__(self, folder: Path, file: str = LOCK) -> None:
        self._folder = folder
        self._file = file
        self._descriptor = -1

    def acquire(self) -> None:
        """Takes the lock. Raises `SightlineError` when another writer holds it, or when its file cannot be made."""
        path = self._folder / self._file
        while True:
            descriptor = opened(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
                os.close(descriptor)
                raise busy(self._folder, holder, "catalog" if self._file == LOCK else "catalogs") from None
            if same_file(descriptor, path):
                break
            os.close(descriptor)
        self._descriptor = descriptor
        note_holder(descriptor)

    def release(self) -> None:
        """Gives the lock up; without a lock it does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def opened(path: Path) -> int:
    """A descriptor of the lock file, which is made if it is not there."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        found = refusal(error, path.parent)
        message = f"cannot open {path} ({found.reason}); {found.remedy}. The catalog is as it was"
        raise SightlineError(found.kind, message) from error


def busy(folder: Path, holder: str, what: str = "catalog") -> SightlineError:
    """The error of a catalog, or catalogs, that another process writes to."""
    message = (
        f"another process ({holder or 'unknown'}) writes to the {what} at {folder}; wait until it has ended, "
        "or give the change to it where it is a server (--target HOST:PORT). A catalog has one writer"
    )
    return SightlineError(ErrorKind.CONFIGURATION, message)


def note_holder(descriptor: int) -> None:
    """Writes the process id into the lock file, for the message to others; a full disk does not matter here."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        return


def same_file(descriptor: int, path: Path) -> bool:
    """Returns whether `path` still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
