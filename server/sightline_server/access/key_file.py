"""The file of API keys on the disk: private, and replaced as a whole.

Rule: mode 0600; a file that other users can read, or that more than its owner can write, is refused. A change is made
under a lock on the folder, written to a new file, synchronised and renamed, so that no reader ever sees half a file.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sightline_server.access.api_keys import StoredKeys, parse_stored
from sightline_server.access.file_in_use import read_file
from sightline_server.errors import ErrorKind, SightlineError

MODE = 0o600
FORBIDDEN = 0o037
"""Mode bits that a file of keys must not have. Its group may read it, as a secret that Kubernetes mounts needs it."""


def read_keys(path: Path) -> bytes:
    """The content of the file. Raises `SightlineError` of kind CONFIGURATION, also for a file that is not private."""
    content = read_file(path)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise cannot("read", path, error) from error
    if mode & FORBIDDEN:
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"{path} has mode {mode:04o}, but keys are for the server alone: chmod 600 {path}"
        )
    return content


def stored_keys(path: Path) -> StoredKeys:
    """The keys in the file; none without a file. Raises `SightlineError` of kind CONFIGURATION."""
    if not path.exists():
        return StoredKeys(keys=[])
    try:
        return parse_stored(read_keys(path))
    except SightlineError as error:
        message = error.message if str(path) in error.message else f"{path}: {error.message}"
        raise SightlineError(error.kind, message) from error


def change_keys(path: Path, change: Callable[[StoredKeys], StoredKeys]) -> StoredKeys:
    """Replaces the file by what `change` makes of its keys, and returns that.

    Raises `SightlineError` of kind CONFIGURATION, and what `change` raises; the file stays as it is then.
    """
    # A link, such as one into a mounted secret, stays a link.
    target = path.resolve()
    with locked_folder(target.parent, path):
        changed = change(stored_keys(target))
        try:
            replace_file(target, changed.model_dump_json(indent=2, exclude_defaults=True).encode() + b"\n")
        except OSError as error:
            raise cannot("write", path, error) from error
    return changed


@contextmanager
def locked_folder(folder: Path, path: Path) -> Iterator[None]:
    """Keeps other commands from changing files of keys in `folder`. Raises `SightlineError` of kind CONFIGURATION."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise cannot("write", path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Replaces `path` by a private file with `content`, which is on the disk when this returns. Raises `OSError`."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), MODE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def cannot(do: str, path: Path, error: OSError) -> SightlineError:
    """The error of a file that cannot be read or written."""
    return SightlineError(ErrorKind.CONFIGURATION, f"cannot {do} {path}: {error.strerror or error}")
