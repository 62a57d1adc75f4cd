"""The thread that writes audit records: those that wait together go to the disk together.

    calls -> queue -> one write and one fdatasync -> each call goes on
Rule: the event loop never waits for the disk. The next group grows while one is written, so no time is waited for it.
Nothing here ends because a write failed: the next group tries again.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sightline_server.access.audit_log.chain import Fields
from sightline_server.errors import ErrorKind, SightlineError

log = logging.getLogger(__name__)

MOST_RECORDS = 1000
"""Records in a group."""
MOST_WAITING = 20_000
"""Records that wait for a disk that does not answer; calls above it are refused at once."""


class AuditObserver(Protocol):
    """Receives what happens to records; called from the writing thread."""

    def written(self, records: int, seconds: float) -> None:
        """A group of `records` is on the disk after `seconds`."""

    def failed(self, records: int) -> None:
        """A group of `records` could not be written."""


class Unobserved:
    """Satisfies `AuditObserver`; ignores everything."""

    def written(self, records: int, seconds: float) -> None:
        """Ignores it."""

    def failed(self, records: int) -> None:
        """Ignores it."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A record that waits, and the future of its call; None where no call waits."""

    fields: Fields
    done: "asyncio.Future[None] | None" = None


class GroupCommit:
    """Writes by `append` from `start` to `close`; `append` raises where nothing of a group may count."""

    def __init__(self, append: Callable[[Sequence[Fields]], None], observer: AuditObserver) -> None:
        self._append = append
        self._observer = observer
        self._waiting: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._refused = 0
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def submit(self, fields: Fields) -> "asyncio.Future[None]":
        """The future that is done when the record is on the disk. It raises `SightlineError` of kind AUDIT_UNAVAILABLE.

        For the thread of a running event loop.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(Entry(fields, done))
        return done

    def add(self, fields: Fields) -> None:
        """Writes a record that no call waits for. Any thread may call it."""
        self._put(Entry(fields))

    def _put(self, entry: Entry) -> None:
        with self._changed:
            if self._closing:
                raise SightlineError(ErrorKind.STOPPING, "the server is stopping", retry_after_s=1.0)
            if len(self._waiting) >= MOST_WAITING:
                raise unavailable()
            self._waiting.append(entry)
            self._changed.notify()

    def close(self) -> None:
        """Writes what waits, and ends the thread. Blocks."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._next_group():
            self._finish(group, self._written([entry.fields for entry in group]))

    def _next_group(self) -> list[Entry]:
        """The records that wait, once there are any; none at the end."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_RECORDS))]

    def _written(self, records: Sequence[Fields]) -> bool:
        """Writes a group; returns whether it is on the disk."""
        began = time.monotonic()
        try:
            self._append(records)
        except Exception as error:
            self._report_failure(error)
            self._refused += len(records)
            self._observer.failed(len(records))
            return False
        if self._refused:
            log.info("audit: the log can be written again; %d records could not be written", self._refused)
            self._refused = 0
        self._observer.written(len(records), time.monotonic() - began)
        return True

    def _report_failure(self, error: Exception) -> None:
        """Logs the first failure in a row."""
        if not self._refused:
            reason = error.strerror if isinstance(error, OSError) else None
            exc_info = None if reason else error
            log.error("audit: the log cannot be written: %s", reason or type(error).__name__, exc_info=exc_info)

    def _finish(self, group: list[Entry], written: bool) -> None:
        """Lets the calls of a group go on, in the thread of their loop."""
        futures = [entry.done for entry in group if entry.done is not None]
        if not futures:
            return
        try:
            futures[0].get_loop().call_soon_threadsafe(settle, futures, written)
        except RuntimeError:
            log.debug("audit: the loop of a group has ended")


def settle(futures: "Sequence[asyncio.Future[None]]", written: bool) -> None:
    """Sets the futures of calls that have not been cancelled."""
    for done in futures:
        if done.done():
            continue
        if written:
            done.set_result(None)
        else:
            done.set_exception(unavailable())


def unavailable() -> SightlineError:
    """The error of a call whose record cannot be written."""
    message = "the audit log cannot be written, and calls are refused until it can; try again later"
    return SightlineError(ErrorKind.AUDIT_UNAVAILABLE, message, retry_after_s=1.0)
