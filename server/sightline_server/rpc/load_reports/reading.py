"""Readings of this process's load, and the figures between two of them.

Rule: a reading takes what others have counted already, so a search costs nothing more for it.
"""

from dataclasses import dataclass

from sightline_server.admission.slots import Admission
from sightline_server.ports import Clock
from sightline_server.rpc.load_reports.cpu import CpuTime, open_cpu_time
from sightline_server.rpc.load_reports.occupancy import Occupancy
from sightline_server.telemetry.metrics import Metrics

SEARCH = "Search"
ANSWERED = frozenset({"OK"})
FAULTS = frozenset({"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED"})
"""Codes that say that the server failed. Refusals for lack of a slot are not among them: the utilization says it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Totals at the instant `at`: `call_s` are seconds of calls inside, of which `slots` fit at once now."""

    at: float
    cpu_s: float
    answered: float
    faults: float
    call_s: float
    slots: int


@dataclass(frozen=True, slots=True)
class Load:
    """The load between two readings; rates are per second, utilizations 1.0 when all is used."""

    cpu_utilization: float
    application_utilization: float
    answered_per_s: float
    faults_per_s: float


class LoadReader:
    """Reads the load of this process."""

    def __init__(
        self,
        admission: Admission,
        occupancy: Occupancy,
        metrics: Metrics,
        clock: Clock,
        cpu: CpuTime | None = None,
    ) -> None:
        """`occupancy` is of the calls in `admission`; `cpu` is found on the machine where it is not given."""
        self._admission = admission
        self._occupancy = occupancy
        self._requests = metrics.requests
        self._clock = clock
        self._cpu = cpu or open_cpu_time()

    def read(self) -> Reading:
        """The totals now."""
        at = self._clock()
        answered = faults = 0.0
        for family in self._requests.collect():
            for sample in family.samples:
                if sample.name.endswith("_total") and sample.labels["method"] == SEARCH:
                    answered += sample.value if sample.labels["code"] in ANSWERED else 0.0
                    faults += sample.value if sample.labels["code"] in FAULTS else 0.0
        return Reading(at, self._cpu.used_s(), answered, faults, self._occupancy.until(at), self._admission.slots)

    def between(self, before: Reading, now: Reading) -> Load:
        """The load from `before` to `now`."""
        seconds = max(now.at - before.at, 1e-3)
        return Load(
            cpu_utilization=max(0.0, now.cpu_s - before.cpu_s) / seconds / self._cpu.cores,
            application_utilization=max(0.0, now.call_s - before.call_s) / seconds / max(1, now.slots),
            answered_per_s=max(0.0, now.answered - before.answered) / seconds,
            faults_per_s=max(0.0, now.faults - before.faults) / seconds,
        )
