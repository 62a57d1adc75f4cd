"""The reasons for which a disk refuses a write, and what to do about each.

Rule: the advice follows from what the system refused, not from who reports it: Python has a number for it, Lance only
text, and SQLite sometimes neither.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from sightline_server.errors import ErrorKind

FULL_BYTES = 256 * 1024
"""With less space than this, an error without a reason is one of a full disk: SQLite's shared memory takes 32 KiB."""
RIGHTS = (errno.EACCES, errno.EPERM)
TAKEN = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
ROOM = (errno.ENOSPC, errno.EDQUOT)
KNOWN = (*ROOM, errno.EFBIG, errno.EROFS, *RIGHTS, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The kind of an error, its reason in a few words, and the remedy."""

    kind: ErrorKind
    reason: str
    remedy: str


def refusal(error: BaseException, path: Path) -> Refusal:
    """The reason and the remedy of `error`, which a disk at `path` caused."""
    code = code_of(error)
    reason = os.strerror(code) if code else text_of(error)
    if code in ROOM or (not code and is_full(path)):
        full = reason if code else f"the disk is full: {reason}"
        return Refusal(ErrorKind.OVERLOADED, full, "free some space and try again")
    if code == errno.EFBIG:
        return Refusal(ErrorKind.OVERLOADED, reason, "raise this user's limit of a file's size (ulimit -f)")
    if code == errno.EROFS:
        return Refusal(ErrorKind.CONFIGURATION, reason, "mount the file system so that it can be written")
    if code in RIGHTS:
        return Refusal(ErrorKind.CONFIGURATION, reason, "give this user the right to write there")
    if code in TAKEN:
        name = getattr(error, "filename", None) or path
        return Refusal(ErrorKind.CONFIGURATION, reason, f"move what is at {name} away and try again")
    if code in (errno.EMFILE, errno.ENFILE):
        return Refusal(ErrorKind.OVERLOADED, reason, "raise the limit of open files (ulimit -n)")
    return Refusal(ErrorKind.INDEX_UNAVAILABLE, reason, "check the disk and try again")


def code_of(error: BaseException) -> int:
    """The number of what the system refused, 0 where it is not known."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    text = str(error)
    return next((code for code in KNOWN if os.strerror(code) in text), 0)


def text_of(error: BaseException) -> str:
    """The reason that an error gives, in one line of bounded length."""
    return str(error).partition("\n")[0][:200] or type(error).__name__


def is_full(path: Path) -> bool:
    """Returns whether the disk of the folder `path`, or of the nearest one above it, has no room for new files."""
    while not path.is_dir() and path != path.parent:
        path = path.parent
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    # Some file systems make inodes as they need them, and count none.
    return found.f_bavail * found.f_frsize < FULL_BYTES or bool(found.f_files and not found.f_favail)
