"""The live recall of the served catalogs: probes searched as callers' embeddings are, and compared with exact answers.

    a set of probes -> the batcher of all searches, batch lane -> rows of products -> recall@10 of that set
Rule: one set at a time, of one revision, under its lease. A set ends with the revision: what is measured is never
reported for the one that replaced it.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from sightline_server.domain.request import Lane
from sightline_server.errors import SightlineError
from sightline_server.ports import Clock, Snapshot
from sightline_server.search.find import QueriesBatcher
from sightline_server.stages.search import VectorQuery
from sightline_server.stages.uncancelled import cancelled

log = logging.getLogger(__name__)

SET_SIZE = 16
DEADLINE_S = 10.0
"""Longest time of a set, its wait for a batch included; under more load than that it is left out."""
LEAST_RECALL = 0.95

LeaseOf = Callable[[str], AbstractContextManager[Snapshot]]
"""Leases the current revision of the catalog of that name."""


class RecallObserver(Protocol):
    """Is notified of what was measured; the telemetry implements it."""

    def measured(self, catalog: str, recall: float) -> None:
        """A set of probes on the current revision of `catalog` had `recall`, 0..1."""

    def not_measured(self, catalog: str) -> None:
        """A set of probes on `catalog` got no answer."""


class RecallProber:
    """Measures every catalog each `every_s` seconds, and when a revision was published.

    It satisfies `index.registry.RegistryObserver`; for the event loop only.
    """

    def __init__(
        self, lease: LeaseOf, queries: QueriesBatcher, observer: RecallObserver, *, every_s: float, clock: Clock
    ) -> None:
        self._lease = lease
        self._queries = queries
        self._observer = observer
        self._every_s = every_s
        self._clock = clock
        self._next: dict[str, int] = {}
        """The first probe of the next set of each catalog."""
        self._low: set[str] = set()
        self._running: tuple[str, asyncio.Task[None]] | None = None
        self._due = asyncio.Event()

    def published(self, snapshot: Snapshot) -> None:
        """Begins again with the first probes, of `snapshot`, soon."""
        self._next[snapshot.name] = 0
        self._due.set()

    def replaced(self, snapshot: Snapshot) -> None:
        """Ends the set that runs on `snapshot`, if there is one, and its lease with it."""
        self._low.discard(snapshot.name)
        if self._running is not None and self._running[0] == snapshot.name:
            self._running[1].cancel()

    def freed(self, snapshot: Snapshot) -> None:
        """Nothing of it is held here."""

    def withdrawn(self, name: str) -> None:
        """Measures catalog `name` no longer."""
        self._next.pop(name, None)

    async def keep_measuring(self) -> None:
        """Measures until it is cancelled."""
        while True:
            self._due.clear()
            for name in list(self._next):
                if name in self._next:  # it may have been withdrawn while another one was measured
                    await self._measure(name)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._due.wait()

    async def _measure(self, name: str) -> None:
        """Runs one set in a separate task, which `replaced` can end."""
        task = asyncio.create_task(self._run_set(name), name="recall")
        self._running = name, task
        try:
            await asyncio.wait([task])
        finally:
            self._running = None
            await cancelled(task)

    async def _run_set(self, name: str) -> None:
        with self._lease(name) as snapshot:
            if not len(snapshot.probes):
                return
            try:
                async with asyncio.timeout(DEADLINE_S):
                    recall = await self._recall(snapshot)
            except (SightlineError, TimeoutError) as error:
                reason = error.message if isinstance(error, SightlineError) else f"no answer within {DEADLINE_S:g} s"
                log.info("catalog %s: live recall not measured: %s", name, reason)
                self._observer.not_measured(name)
            except Exception:  # a defect here must not end the measuring of the other catalogs
                log.exception("catalog %s: live recall not measured", name)
                self._observer.not_measured(name)
            else:
                self._observer.measured(name, recall)
                self._report(snapshot, recall)

    async def _recall(self, snapshot: Snapshot) -> float:
        """The recall of the next set of probes. Raises `SightlineError`."""
        probes = snapshot.probes
        count = min(SET_SIZE, len(probes), self._queries.max_batch)
        places = [(self._next[snapshot.name] + step) % len(probes) for step in range(count)]
        self._next[snapshot.name] = (places[-1] + 1) % len(probes)
        asked = [VectorQuery(snapshot, probes.queries[place], probes.k) for place in places]
        answer = await self._queries.submit(asked, deadline=self._clock() + DEADLINE_S, lane=Lane.BATCH)
        rows: list[list[int]] = []
        for found in answer.results:
            if isinstance(found, SightlineError):
                raise found
            rows.append([neighbour.row for neighbour in found])
        return probes.recall(places, rows)

    def _report(self, snapshot: Snapshot, recall: float) -> None:
        """Logs when the recall becomes too low, and when it is right again."""
        low = recall < LEAST_RECALL
        if low and snapshot.name not in self._low:
            log.error(
                "catalog %s: revision %s finds %.0f %% of the nearest products that exact search finds, expected at "
                "least %.0f %%; see SightlineRecallLow in the runbook",
                *(snapshot.name, snapshot.revision, 100 * recall, 100 * LEAST_RECALL),
            )
        elif not low and snapshot.name in self._low:
            log.info("catalog %s: revision %s: live recall@10 %.3f again", snapshot.name, snapshot.revision, recall)
        (self._low.add if low else self._low.discard)(snapshot.name)
