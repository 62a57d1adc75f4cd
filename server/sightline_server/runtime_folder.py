"""The private folder through which the engine gets its paths, and its removal.

Triton starts its stubs through a shell without quotes, reads numbers out of a repository path with a blank, and its
embedded Python fails on letters beyond ASCII. So Triton never sees the paths of the installation or of the models: it
gets links to them in a folder whose own path is plain. The folder has mode 0700, is named as the server's regions are,
and has room for the engine's Unix socket. The server keeps a lock on it, which shows other servers, in other containers
too, and cleaners of temporary files that it is in use.
Rule: the folder holds links and sockets only; standard library only, because the reaper loads this file.
"""

import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from sightline_server import owned_names
from sightline_server.errors import ErrorKind, SightlineError

PLAIN = re.compile(r"/[A-Za-z0-9_./@+=,-]*")
"""Paths that shells, URIs and Triton take as they are."""
MOST_BYTES = 100
"""Bound on the longest path in the folder; a Unix socket's path may have 107 bytes."""
LONGEST_NAME = "/triton:65535"
NAME = re.compile(re.escape(owned_names.PREFIX) + r"\d+-\d+-run-[0-9a-f]+")
TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 (a private folder is made there, never a file with a known name)


class RuntimeFolder:
    """One server's folder, from its making to `close`."""

    def __init__(self) -> None:
        """Makes the folder. Raises `SightlineError` of kind CONFIGURATION where it can be made nowhere."""
        self.path = make()
        self._lock = lock_folder(self.path)

    @property
    def present(self) -> bool:
        """True if the folder is still there; a cleaner of the temporary directory may have removed it."""
        return is_private(self.path)

    def link(self, name: str, target: Path) -> Path:
        """Makes the link `name` to `target` in the folder; returns the link's plain path."""
        place = self.path / name
        place.unlink(missing_ok=True)
        place.symlink_to(target.absolute())
        return place

    def remove_sockets(self) -> None:
        """Removes the sockets in the folder; the engine that listened on them has ended."""
        for entry in self.path.iterdir():
            if entry.is_socket():
                entry.unlink()

    def close(self) -> None:
        """Removes the folder."""
        if self._lock >= 0:
            remove(self.path)
            os.close(self._lock)
            self._lock = -1


def make() -> Path:
    """An empty folder of mode 0700 with a plain path. Raises `SightlineError` where it can be made nowhere."""
    remedy = "Set XDG_RUNTIME_DIR or TMPDIR to a writable folder with a short path of ASCII letters and no blanks."
    return private_folder("run", "no suitable folder for the engine's runtime files", remedy, unfit)


def private_folder(kind: str, failure: str, remedy: str, unfit: Callable[[Path], str] = lambda path: "") -> Path:
    """An empty folder of mode 0700 whose name has its owner and `kind`, in the first of `places` that allows it.

    `unfit` gives the reason against a path, or nothing. Raises `SightlineError` of kind CONFIGURATION with `failure`,
    the reason against each directory, and `remedy`.
    """
    reasons = []
    for place in places():
        path = place / f"{owned_names.own_prefix()}{kind}-{os.urandom(4).hex()}"
        if reason := unfit(path):
            reasons.append(f"{place} {reason}")
            continue
        try:
            path.mkdir(mode=0o700)
        except OSError as error:
            reasons.append(f"{place}: {error.strerror}")
            continue
        if is_private(path):
            return path
        reasons.append(f"{place} does not keep files private")
    raise SightlineError(ErrorKind.CONFIGURATION, f"{failure}: {'; '.join(reasons)}. {remedy}")


def lock_folder(path: Path) -> int:
    """Locks a folder as one that is in use; returns the file descriptor, which holds the lock until it is closed."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def places() -> list[Path]:
    """The directories where the folder may be made, best first: the user's runtime directory, then temporary ones."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    found = [Path(own)] if own and is_private(Path(own)) else []
    temporary = [Path(name) for name in dict.fromkeys((os.environ.get("TMPDIR", ""), *TEMPORARY)) if name]
    # A directory in which others may rename the folder is used only when there is no better one.
    return [*found, *sorted(temporary, key=lambda place: not keeps_names(place))]


def unfit(path: Path) -> str:
    """The reason why Triton cannot use paths below `path`; empty when it can."""
    if not PLAIN.fullmatch(str(path)):
        return "has characters in its path that Triton cannot read"
    if len(f"{path}{LONGEST_NAME}") > MOST_BYTES:
        return "has too long a path"
    return ""


def is_private(path: Path) -> bool:
    """Returns whether `path` is a folder, not a link to one, that only this user can enter."""
    try:
        found = path.lstat()
    except (OSError, ValueError):
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def keeps_names(place: Path) -> bool:
    """Returns whether other users cannot rename a folder that this one makes in `place`."""
    try:
        mode = place.stat().st_mode
    except (OSError, ValueError):
        return False
    return bool(mode & stat.S_ISVTX) or not mode & 0o022


def remove_orphans() -> None:
    """Removes the folders of this user's servers that have ended."""
    for path in orphans():
        remove(path)


def orphans(names: "re.Pattern[str]" = NAME) -> Iterator[Path]:
    """This user's folders with such names whose server has ended."""
    for path in listed(names=names):
        if not owned_names.owner_lives(path.name) and not locked(path):
            yield path


def listed(among: Iterable[Path] | None = None, names: "re.Pattern[str]" = NAME) -> Iterator[Path]:
    """This user's private folders in `among`, or in every directory where a server may have made them."""
    for place in places() if among is None else among:
        try:
            entries = os.listdir(place)
        except OSError:
            continue
        yield from (place / name for name in entries if names.fullmatch(name) and is_private(place / name))


def locked(path: Path) -> bool:
    """Returns whether a server that this process cannot see, for example in another container, uses the folder."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
    finally:
        os.close(lock)
    return False


def remove(path: Path) -> None:
    """Removes a runtime folder with the links and sockets in it; anything else stays, and the folder with it."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        for name in os.listdir(folder):
            kind = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISLNK(kind) or stat.S_ISSOCK(kind):
                os.unlink(name, dir_fd=folder)
        path.rmdir()
    except OSError:
        return
    finally:
        os.close(folder)
