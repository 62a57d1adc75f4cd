"""Files that are read again when they change, without being read to find out.

Rule: standard library only. A change is a different device, inode, size or time of a file, links followed: replaced,
written in place and linked elsewhere all count, whatever the direction of time.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path

SETTLED_S = 2.0
"""Files that changed less than this before they were read are read once more: their time stamps are coarse."""

Identity = tuple[tuple[int, ...], ...]
"""Device, inode, size and times of each file, symbolic links followed; an error number for one that is not there."""


def identity_of(paths: tuple[Path, ...]) -> Identity:
    """The identity of these files, which changes when they do; the last number is a time. Does not read them."""
    identities: list[tuple[int, ...]] = []
    for path in paths:
        try:
            facts = path.stat()
        except OSError as error:
            identities.append((error.errno or 0, 0))
        else:
            identities.append((facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns))
    return tuple(identities)


class Watch:
    """Notes the identity of some files. `now` gives Unix time in seconds."""

    def __init__(self, paths: tuple[Path, ...], now: Callable[[], float] = time.time) -> None:
        self._paths = paths
        self._now = now
        self._seen: Identity = ()
        self._read_again_at = 0.0
        self._lock = threading.Lock()

    def check(self, read: Callable[[], object], *, force: bool) -> None:
        """Calls `read` when the files have changed, or in any case with `force`. Any thread may call it.

        Without `force` it returns at once while another thread checks.
        """
        if not self._lock.acquire(blocking=force):
            return
        try:
            if self.changed() or force:
                read()
        finally:
            self._lock.release()

    def changed(self) -> bool:
        """Returns whether the files are to be read: they are not as they were at the last call, or were new then."""
        identity, now = identity_of(self._paths), self._now()
        if identity == self._seen and not 0.0 < self._read_again_at <= now:
            return False
        changed_at = max(times[-1] for times in identity) / 1e9
        fresh = identity != self._seen and 0.0 <= now - changed_at < SETTLED_S
        self._read_again_at = changed_at + SETTLED_S if fresh else 0.0
        self._seen = identity
        return True
