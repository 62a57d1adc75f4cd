"""The progress of an operation: counts of rows, and what is wrong with the first rows that failed.

Rule: any thread may write it; a reader gets a snapshot.
"""

import threading
from dataclasses import dataclass, replace

MAX_FAILURES = 100
"""Row failures that are kept; the others are counted."""


@dataclass(frozen=True, slots=True)
class RowFailure:
    """One problem of row `row`, from 1. The row was lost if it was `skipped`, else a part of it was left out."""

    row: int
    text: str
    product_id: str = ""
    skipped: bool = True


@dataclass(frozen=True, slots=True)
class Progress:
    """The rows of an operation: `total` (0 if unknown), `read`, `written` and `failed` so far.

    `failures` are the first of the `problems`, warnings among them.
    """

    total: int = 0
    read: int = 0
    written: int = 0
    failed: int = 0
    problems: int = 0
    failures: tuple[RowFailure, ...] = ()


class Tracker:
    """The progress of one operation, for the operation itself to write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress = Progress()

    @property
    def progress(self) -> Progress:
        """The progress now."""
        with self._lock:
            return self._progress

    def expect(self, total: int) -> None:
        """Sets the number of rows that there will be."""
        with self._lock:
            self._progress = replace(self._progress, total=total)

    def read(self, rows: int) -> None:
        """Sets the number of rows that were read."""
        with self._lock:
            self._progress = replace(self._progress, read=rows)

    def written(self, rows: int) -> None:
        """Adds rows that were written."""
        with self._lock:
            self._progress = replace(self._progress, written=self._progress.written + rows)

    def problem(self, failure: RowFailure) -> None:
        """Adds a problem."""
        with self._lock:
            known = self._progress
            kept = (*known.failures, failure) if len(known.failures) < MAX_FAILURES else known.failures
            failed = known.failed + failure.skipped
            self._progress = replace(known, failed=failed, problems=known.problems + 1, failures=kept)
