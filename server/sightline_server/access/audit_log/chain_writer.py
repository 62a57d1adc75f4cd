"""The writer of one chain: records go to the disk in groups, and to a new file after a size, a day or a failure.

    records -> lines -> write, fdatasync -> state
Rule: a file is only appended to. After a failed write its end is unknown, so the chain goes on in a new file, whose
first record says where the chain left the file before. One thread uses it.
"""

import contextlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline_server.access.audit_log.chain import Fields, sealed_all
from sightline_server.access.audit_log.files import STATE, LogFile, day_of, files_of, header_of, new_file
from sightline_server.access.audit_log.records import FILE_STARTED, FILES_REMOVED, SCHEMA, event
from sightline_server.access.audit_log.recovery import end_of, rest_of
from sightline_server.access.audit_log.state import State, StateFile

log = logging.getLogger(__name__)

DAY_S = 86_400
STATE_SYNC_S = 1.0
"""Seconds after which the state is brought to the disk with the records."""
MODE = 0o600


@dataclass(frozen=True, slots=True)
class Rotation:
    """A file ends after `file_bytes` and with its day (UTC); after `keep_days` it is removed (None: never)."""

    file_bytes: int = 64 * 1024 * 1024
    keep_days: int | None = None


USUAL = Rotation()


class ChainWriter:
    """Continues chain `number` in `folder` behind `state`, in a new file. Raises `OSError`."""

    def __init__(
        self,
        number: int,
        folder: Path,
        key_id: str,
        state: State,
        rotation: Rotation = USUAL,
        now: Callable[[], float] = time.time,
    ) -> None:
        end = end_of(folder, state)
        self.number = number
        self._folder = folder
        self._key_id = key_id
        self._rotation = rotation
        self._now = now
        self._link = end.link
        self._path = folder / end.name if end.name else None
        self._size = end.size
        self._file = LogFile(end.number, "", folder)
        self._descriptor = -1
        self._failed = False
        self._refused = 0
        self._synced_at = 0.0
        self._state = StateFile(folder / STATE)
        try:
            self._begin_file("start")
        except BaseException:
            self._state.close()
            raise

    def append(self, records: Sequence[Fields]) -> None:
        """Brings `records` to the disk. Raises `OSError`; then they count as refused, and it may be called again."""
        try:
            if cause := self._cause_of_new_file():
                self._begin_file(cause)
            self._write(records)
        except OSError:
            self._refused += len(records)
            raise

    def close(self) -> None:
        """Writes the end of the chain, and closes the files."""
        try:
            with contextlib.suppress(OSError):
                self._state.write(self._end(closed=not self._failed), both=True, sync=True)
        finally:
            self._state.close()
            os.close(self._descriptor)

    def _write(self, records: Sequence[Fields]) -> None:
        data, link = sealed_all(self._link, self.number, records)
        self._failed = True
        write_all(self._descriptor, data)
        os.fdatasync(self._descriptor)
        self._link, self._size, self._failed = link, self._size + len(data), False
        self._keep_state()

    def _keep_state(self) -> None:
        now = time.monotonic()
        due = now - self._synced_at >= STATE_SYNC_S
        self._state.write(self._end(), sync=due)
        self._synced_at = now if due else self._synced_at

    def _end(self, *, closed: bool = False) -> State:
        return State(self._link, self._path.name if self._path else "", self._size, closed)

    def _cause_of_new_file(self) -> str:
        """The reason for which the next record goes to a new file; empty where it does not."""
        if self._failed:
            return "failure"
        if self._moved():
            log.error("audit: %s was moved or removed while it was written; a new file is begun", self._path)
            return "moved"
        if day_of(self._now()) != self._file.day:
            return "day"
        return "size" if self._size >= self._rotation.file_bytes else ""

    def _moved(self) -> bool:
        try:
            return self._path is None or not os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return True

    def _begin_file(self, cause: str) -> None:
        """Begins the next file, behind the last record that is on the disk."""
        now = self._now()
        number = max([self._file.number, *(file.number for file in files_of(self._folder))])
        file = new_file(self._folder, number + 1, now)
        data, link = sealed_all(self._link, self.number, [self._header(file, cause, now)])
        descriptor = created(file.path, data)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._file, self._path = descriptor, file, file.path
        self._link, self._size, self._failed, self._refused = link, len(data), False, 0
        # Both slots at a start, so that a new state file has its space on the disk.
        self._state.write(self._end(), both=cause == "start", sync=True)
        self._synced_at = time.monotonic()
        self._remove_old_files(now)

    def _header(self, file: LogFile, cause: str, now: float) -> Fields:
        count, digest = rest_of(self._path, self._size) if self._path else (0, "")
        return event(
            FILE_STARTED,
            now,
            schema_version=SCHEMA,
            chain=self.number,
            file=file.number,
            cause=cause,
            key_id=self._key_id,
            previous_file=self._path.name if self._path else "",
            previous_size=self._size,
            previous_mac=self._link.mac.hex(),
            unfinished_bytes=count or None,
            unfinished_sha256=digest,
            refused=self._refused or None,
        )

    def _remove_old_files(self, now: float) -> None:
        """Removes the files whose records are all older than the setting says, after a record of that."""
        if self._rotation.keep_days is None:
            return
        oldest = day_of(now - self._rotation.keep_days * DAY_S)
        files = files_of(self._folder)
        old = list(itertools.takewhile(lambda file: file.day < oldest, files[:-1]))
        if not old:
            return
        try:
            first = header_of(files[len(old)])
            self._write([event(FILES_REMOVED, now, files=len(old), before=first["record_id"] if first else "")])
            for file in old:
                file.path.unlink()
        except OSError as error:
            log.error("audit: cannot remove old files of %s: %s", self._folder, error.strerror)


def created(path: Path, data: bytes) -> int:
    """The descriptor of a new file with `data`, which is on the disk under its name. Raises `OSError`; then there is no
    new file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, MODE)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
        sync_folder(path.parent)
    except BaseException:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return descriptor


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of `data`. Raises `OSError`, also where only a part could be written."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def sync_folder(path: Path) -> None:
    """Brings the names in a folder to the disk. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
