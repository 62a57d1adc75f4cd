"""The outcomes of the calls of a run, in columns, and the figures made of them.

Rule: a latency counts from the intended start of its call, never from its sending.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

UNANSWERED, LEFT = "UNANSWERED", "LEFT"
CODES = (UNANSWERED, LEFT, *(code.name for code in grpc.StatusCode))
"""UNANSWERED: nothing came from the server, or the caller's own deadline ended it. LEFT: the caller cancelled it."""

HIGHEST_US = 120_000_000
SIGNIFICANT_DIGITS = 3
MAX_LATENESS_S = 0.005


@dataclass(slots=True)
class Run:
    """The calls of one run, one row each. Instants are seconds from the run's start; 0 means that it never came.

    `request` is its number in the list, `slow` is 1 for a caller who reads slowly.
    """

    intended: NDArray[np.float64]
    sent: NDArray[np.float64]
    accepted: NDArray[np.float64]
    detected: NDArray[np.float64]
    first: NDArray[np.float64]
    ended: NDArray[np.float64]
    code: NDArray[np.int64]
    objects: NDArray[np.int64]
    failures: NDArray[np.int64]
    request: NDArray[np.int64]
    slow: NDArray[np.int64]
    seconds: float = 0.0
    """From the start until the last call had ended."""
    cpu_s: float = 0.0
    """CPU seconds of the generator's process."""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> NDArray[np.bool_]:
        """Calls answered in full: every object searched, within the deadline that they carried."""
        return self.of("OK") & np.equal(self.failures, 0) & np.greater(self.objects, 0)

    def of(self, code: str) -> NDArray[np.bool_]:
        """Calls that ended with `code`."""
        return np.equal(self.code, CODES.index(code))

    @property
    def latency_s(self) -> NDArray[np.float64]:
        """From the intended start to the end."""
        return self.ended - self.intended

    @property
    def lateness_p99_s(self) -> float:
        """The delays between the intended and the actual start of calls."""
        return percentile(self.sent - self.intended, 99)

    @property
    def valid(self) -> bool:
        """True if the generator kept its schedule; if not, the run measured the generator and not the server."""
        return self.lateness_p99_s <= MAX_LATENESS_S

    @property
    def codes(self) -> dict[str, int]:
        """Calls by code."""
        return dict(Counter(CODES[code] for code in self.code.tolist()))

    def between(self, start_s: float, end_s: float) -> "Run":
        """The calls that were meant to start in `start_s` .. `end_s`."""
        chosen = (self.intended >= start_s) & (self.intended < end_s)
        columns = {name: getattr(self, name)[chosen] for name in COLUMNS}
        return Run(**columns, seconds=end_s - start_s, cpu_s=self.cpu_s)


COLUMNS = (
    *("intended", "sent", "accepted", "detected", "first", "ended"),
    *("code", "objects", "failures", "request", "slow"),
)
WHOLE_NUMBERS = COLUMNS[6:]


def to_run(rows: list[tuple[float, ...]], *, seconds: float, cpu_s: float) -> Run:
    """The rows, in the order of `COLUMNS`, as a run."""
    table = np.array(rows, np.float64).reshape(len(rows), len(COLUMNS))
    columns: dict[str, Any] = {
        name: table[:, place].astype(np.int64) if name in WHOLE_NUMBERS else table[:, place]
        for place, name in enumerate(COLUMNS)
    }
    return Run(**columns, seconds=seconds, cpu_s=cpu_s)


def percentile(values: NDArray[np.float64], rank: float) -> float:
    """The `rank`th percentile, 0 for no values."""
    return float(np.percentile(values, rank)) if len(values) else 0.0


def milliseconds(values: NDArray[np.float64], rank: float) -> float:
    """A percentile of seconds, in milliseconds to two decimals."""
    return round(percentile(values, rank) * 1e3, 2)


def histogram(latencies_s: NDArray[np.float64]) -> HdrHistogram:
    """An HDR histogram of the latencies in microseconds, three significant digits, up to two minutes."""
    made = HdrHistogram(1, HIGHEST_US, SIGNIFICANT_DIGITS)
    for value in np.clip(latencies_s * 1e6, 1, HIGHEST_US).astype(np.int64).tolist():
        made.record_value(value)
    return made
