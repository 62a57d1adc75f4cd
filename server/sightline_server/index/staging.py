"""The folder in which a catalog is built: `DIR.partial-<pid>`, which replaces DIR at once or not at all.

Rule: one builder per DIR, kept by a lock that the kernel frees with the process; its holder may remove what dead
builders left. DIR itself is only ever touched by one rename.
"""

import ctypes
import errno
import fcntl
import glob
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from sightline_server.catalog.content import is_living
from sightline_server.catalog.durable import sync, sync_tree
from sightline_server.catalog.lock import WriterLock, note_holder
from sightline_server.catalog.replica_mark import require_not_replica
from sightline_server.errors import ErrorKind, SightlineError

AT_FDCWD = -100
RENAME_EXCHANGE = 2


class Staging:
    """A context: `path` is a fresh name to write to; `publish` moves it to `out`; leaving without it removes it."""

    def __init__(self, out: Path, *, replace: bool, replica: bool = False) -> None:
        """`replica` is for the follower of a replica, which alone may replace one."""
        self.out = out.resolve()
        self.path = self.out.with_name(f"{self.out.name}.partial-{os.getpid()}")
        self._replace = replace
        self._replica = replica
        self._lock = -1
        self._writer = WriterLock(self.out)

    def __enter__(self) -> Self:
        """Raises `SightlineError` of kind CONFIGURATION when `out` is taken or another build of it runs."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self._lock = lock(self.out)
        try:
            self._check_target()
            if is_living(self.out):
                self._writer.acquire()
            for leftover in leftovers(self.out):
                shutil.rmtree(leftover)
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._unlock()

    def publish(self) -> None:
        """Replaces `out` by the built directory, durably. A replaced catalog is removed afterwards."""
        sync_tree(self.path)
        if self.out.exists():
            exchange(self.path, self.out)
        else:
            self.path.rename(self.out)
        sync(self.out.parent)

    def _check_target(self) -> None:
        require_utf8(self.out)
        if not self.out.exists():
            return
        if not self._replace:
            message = f"{self.out} already exists; --replace builds it again"
            raise SightlineError(ErrorKind.CONFIGURATION, message)
        if not self._replica:
            require_not_replica(self.out)
        # A slip of the keyboard must not cost a folder that we did not make.
        known = (self.out / "_versions").is_dir() or is_living(self.out)
        if not self.out.is_dir() or (any(self.out.iterdir()) and not known):
            raise SightlineError(ErrorKind.CONFIGURATION, f"{self.out} is not a catalog and is not replaced")

    def _unlock(self) -> None:
        self._writer.release()
        lock_path(self.out).unlink(missing_ok=True)
        os.close(self._lock)


def check_target(out: Path, *, replace: bool) -> None:
    """Raises what building `out` now would raise at its beginning; a build checks again when it begins."""
    with Staging(out, replace=replace):
        pass


def leftovers(out: Path) -> list[Path]:
    """The folders in which `out` is built, or was by builders that are dead."""
    return list(out.parent.glob(f"{glob.escape(out.name)}.partial-*"))


def lock_path(out: Path) -> Path:
    """The lock file of `out`."""
    return out.with_name(f".{out.name}.lock")


def lock(out: Path) -> int:
    """The descriptor of the lock of `out`, held. Raises `SightlineError` when another process holds it."""
    path = lock_path(out)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            os.close(descriptor)
            message = f"another build of {out}, or its follower, is running (process {holder or 'unknown'})"
            raise SightlineError(ErrorKind.CONFIGURATION, message) from None
        # The previous holder may have unlinked the file between our open and our lock.
        if same_file(descriptor, path):
            note_holder(descriptor)
            return descriptor
        os.close(descriptor)


def same_file(descriptor: int, path: Path) -> bool:
    """Returns whether `path` still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def exchange(first: Path, second: Path) -> None:
    """Swaps two directories in one step, so that a reader always finds one; in two where the filesystem cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    renameat2 = getattr(libc, "renameat2", None)
    if renameat2 is not None:
        if renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(code, os.strerror(code), str(second))
    aside = first.with_name(f"{first.name}.old")
    second.rename(aside)
    first.rename(second)
    aside.rename(first)


def require_utf8(path: Path) -> None:
    """Raises `SightlineError` for a path whose bytes are not UTF-8, which Lance cannot open."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"the path of a catalog must be UTF-8 text: {path.absolute()}; rename the folder"
        ) from None
