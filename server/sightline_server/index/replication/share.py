"""The folder of a publication: `CURRENT` and `OPERATIONS`, and the files that they name, each called by its SHA-256.

    SHARE/objects/<SHA-256>   first    SHARE/CURRENT or SHARE/OPERATIONS   last, in one step
Rule: a file appears under its name when it is whole and on the disk. Readers lock nothing and write nothing.
"""

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sightline_server.catalog.durable import sync
from sightline_server.catalog.refusals import refusal
from sightline_server.errors import SightlineError
from sightline_server.index.replication.description import LARGEST, PublishedFile
from sightline_server.index.replication.reasons import NotFollowedError, Reason

CURRENT = "CURRENT"
OPERATIONS = "OPERATIONS"
OBJECTS = "objects"
LOCK = "PUBLISHER-LOCK"
PART = 4 << 20
PARTIAL = ".partial-"


class Share:
    """The publication in the folder `path`, for one publisher and any number of readers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def current(self) -> bytes:
        """The description of the published revision. Raises `NotFollowedError` with AWAY where there is none."""
        try:
            with (self.path / CURRENT).open("rb") as file:
                return file.read(LARGEST)
        except FileNotFoundError as error:
            message = f"nothing is published in {self.path}; is it mounted, and does `sightline catalog publish` run?"
            raise NotFollowedError(Reason.AWAY, message) from error
        except OSError as error:
            raise away(self.path, error) from error

    def operations(self) -> bytes | None:
        """The description of the published operations; None where there are none. Raises as `current`, with AWAY."""
        try:
            with (self.path / OPERATIONS).open("rb") as file:
                return file.read(LARGEST)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise away(self.path, error) from error

    def object(self, file: PublishedFile) -> Path:
        """The path of `file`."""
        return self.path / OBJECTS / file.sha256

    def has(self, file: PublishedFile) -> bool:
        """Returns whether `file` is there in its whole size."""
        with writing(self.path):
            path = self.object(file)
            return path.exists() and path.stat().st_size == file.size

    def put(self, path: str, source: Path) -> tuple[PublishedFile, bool]:
        """Publishes the content of `source` as the file `path`; the second value is False where it was there already.

        Raises `SightlineError`, and `OSError` for `source`.
        """
        partial = self.path / OBJECTS / f"{PARTIAL}{secrets.token_hex(8)}"
        with source.open("rb") as content, self._removed_unless_renamed(partial):
            found = PublishedFile(path, source.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest())
            if self.has(found):
                return found, False
            content.seek(0)
            size, sha256 = copied(content, partial, self.path)
            file = PublishedFile(path, size, sha256)
            with writing(self.path):
                partial.replace(self.object(file))
        return file, True

    def put_bytes(self, data: bytes) -> PublishedFile:
        """Publishes `data` as a file without a path. Raises `SightlineError`."""
        found = PublishedFile("", len(data), hashlib.sha256(data).hexdigest())
        partial = self.path / OBJECTS / f"{PARTIAL}{secrets.token_hex(8)}"
        with self._removed_unless_renamed(partial), writing(self.path):
            if not self.has(found):
                partial.write_bytes(data)
                sync(partial)
                partial.replace(self.object(found))
        return found

    def make(self) -> None:
        """Makes the folder of files, in a share that must be there. Raises `SightlineError`."""
        with writing(self.path):
            (self.path / OBJECTS).mkdir(exist_ok=True)

    def replace_current(self, data: bytes) -> None:
        """Makes `data` the description, once every file that it names is on the disk. Raises `SightlineError`."""
        self._replace(CURRENT, data)

    def replace_operations(self, data: bytes) -> None:
        """As `replace_current`, for the description of operations."""
        self._replace(OPERATIONS, data)

    def _replace(self, name: str, data: bytes) -> None:
        partial = self.path / f"{name}{PARTIAL}{secrets.token_hex(8)}"
        with self._removed_unless_renamed(partial), writing(self.path):
            partial.write_bytes(data)
            sync(partial)
            sync(self.path / OBJECTS)
            partial.replace(self.path / name)
            sync(self.path)

    def tidy(self, used: set[str], unused_s: float) -> None:
        """Removes what an earlier publisher has left, and files that have not been in `used` for `unused_s` seconds.

        The time of a file is that of the last call in which it was used. What cannot be removed does no harm.
        """
        with suppress(OSError):
            for entry in [*(self.path / OBJECTS).iterdir(), *self.path.glob(f"*{PARTIAL}*")]:
                with suppress(OSError):
                    if entry.name in used:
                        os.utime(entry)
                    elif PARTIAL in entry.name or time.time() - entry.stat().st_mtime >= unused_s:
                        entry.unlink()

    @staticmethod
    @contextmanager
    def _removed_unless_renamed(partial: Path) -> Iterator[None]:
        try:
            yield
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns errors of writing to `folder` into `SightlineError`."""
    try:
        yield
    except OSError as error:
        found = refusal(error, folder)
        message = f"cannot publish to {folder} ({found.reason}); {found.remedy}. The revision before stays published"
        raise SightlineError(found.kind, message) from error


def copied(content: BinaryIO, target: Path, share: Path) -> tuple[int, str]:
    """Writes `content` to the new file `target`, durably. Returns its size and its SHA-256."""
    digest, size = hashlib.sha256(), 0
    with writing(share), target.open("xb") as out:
        for part in iter(lambda: content.read(PART), b""):
            digest.update(part)
            size += len(part)
            out.write(part)
        out.flush()
        os.fsync(out.fileno())
    return size, digest.hexdigest()


def away(path: Path, error: OSError) -> NotFollowedError:
    """The error of a source that cannot be read."""
    return NotFollowedError(Reason.AWAY, f"{path} cannot be read ({error.strerror or type(error).__name__})")


def fetch(share: Share, file: PublishedFile, target: Path) -> None:
    """Copies `file` to the new file `target`; the caller brings it to the disk.

    Raises `NotFollowedError`: AWAY, INCOMPLETE, DAMAGED, or DISK for what concerns `target`.
    """
    digest, size = hashlib.sha256(), 0
    try:
        source = share.object(file).open("rb")
    except FileNotFoundError as error:
        raise NotFollowedError(Reason.INCOMPLETE, f"{file.path} is not in {share.path} yet") from error
    except OSError as error:
        raise away(share.path, error) from error
    with source, on_own_disk(target.parent), target.open("xb") as out:
        for part in iter(reader(share, source), b""):
            digest.update(part)
            size += len(part)
            out.write(part)
            # A file that has grown must not fill the disk before it is refused.
            if size > file.size:
                break
    if size < file.size:
        raise NotFollowedError(Reason.INCOMPLETE, f"{file.path} in {share.path} has {size} bytes, expected {file.size}")
    if size != file.size or digest.hexdigest() != file.sha256:
        raise NotFollowedError(Reason.DAMAGED, f"{file.path} in {share.path} is not what was published")


def reader(share: Share, source: BinaryIO) -> Callable[[], bytes]:
    """Reads the next part of `source`. It raises `NotFollowedError` where the share is away."""

    def read() -> bytes:
        try:
            return source.read(PART)
        except OSError as error:
            raise away(share.path, error) from error

    return read


@contextmanager
def on_own_disk(folder: Path) -> Iterator[None]:
    """Turns errors of the replica's own disk into `NotFollowedError`."""
    try:
        yield
    except OSError as error:
        found = refusal(error, folder)
        message = f"cannot write the new revision to {folder} ({found.reason}); {found.remedy}"
        raise NotFollowedError(Reason.DISK, message) from error
