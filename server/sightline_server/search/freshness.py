"""The freshness of catalogs that are written: a product that was just acknowledged is searched until it is found.

    acknowledged -> at most one a second -> its own vector through the batcher of all searches, batch lane -> seconds
Rule: what is measured is what a caller would see, in the view that is current when the search begins. A product that is
being changed again is not judged. Vectors are held for the length of a check, and are in no log and no metric.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.request import Lane
from sightline_server.errors import SightlineError
from sightline_server.ports import Clock
from sightline_server.search.find import QueriesBatcher, found_or_raised
from sightline_server.search.recall import LeaseOf
from sightline_server.stages.search import VectorQuery
from sightline_server.stages.uncancelled import cancelled

log = logging.getLogger(__name__)

EVERY_S = 1.0
"""Least time in seconds between two checks, over all catalogs that are written."""
GIVE_UP_S = 10.0
"""Longest time of a check; a product that was not found until then is missed."""
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
"""Pauses between the searches of a check double from the one to the other."""
NEAREST = 10
EQUAL = 0.999
"""The similarity from which another product's image counts as equal to the one that is searched."""
FORGET_S = 60.0
"""A catalog that was not checked for so long takes no turns any more."""


class Missing(Enum):
    """The outcome of a check that did not find its product."""

    MISSED = "missed"
    """Searches returned other products until the check ended."""
    UNDECIDED = "undecided"
    """It was changed again meanwhile, or as many images as a search returns are equal to it."""
    FAILED = "failed"
    """A search got no answer."""


class FreshnessObserver(Protocol):
    """Is notified of the outcome of checks; the telemetry implements it."""

    def found(self, catalog: str, freshness_s: float) -> None:
        """A search had returned the product, so many seconds after its acknowledgement."""

    def not_found(self, catalog: str, outcome: str) -> None:
        """The check ended without it; `outcome` is the value of a `Missing`."""


@dataclass(slots=True, eq=False)
class Sample:
    """An acknowledged product: one of its vectors, float32 [D], L2-normalised, and the instant of acknowledgement."""

    catalog: str
    product_id: str
    embedding: NDArray[np.float32] = field(repr=False)
    at: float
    changed: bool = False
    """True once somebody has begun to change the product again."""
    searched: bool = False
    """True once a search has been answered."""


class FreshnessProber:
    """Checks products that writers report. For the event loop only.

    A writer reports each write twice: `changing` around it, and `acknowledged` after it.
    """

    def __init__(self, lease: LeaseOf, queries: QueriesBatcher, observer: FreshnessObserver, *, clock: Clock) -> None:
        self._lease = lease
        self._queries = queries
        self._observer = observer
        self._clock = clock
        self._changing: Counter[tuple[str, str | None]] = Counter()
        """The changes that are being written, by catalog and product; None for all products of a catalog."""
        self._running: dict[str, tuple[Sample, asyncio.Task[None]]] = {}
        self._next: dict[str, float] = {}
        """The instant of the next check of each catalog."""

    @contextmanager
    def changing(self, catalog: str, product_ids: Collection[str] | None) -> Iterator[None]:
        """The block in which a write of these products, or of the whole catalog (None), is submitted and awaited."""
        changed: Collection[str | None] = [None] if product_ids is None else product_ids
        keys = [(catalog, each) for each in changed]
        running = self._running.get(catalog)
        if running is not None and (product_ids is None or running[0].product_id in product_ids):
            running[0].changed = True
        self._changing.update(keys)
        try:
            yield
        finally:
            for key in keys:
                self._changing[key] -= 1
                if not self._changing[key]:
                    del self._changing[key]

    def acknowledged(self, catalog: str, product_id: str, embedding: NDArray[np.float32]) -> None:
        """A write of this product was acknowledged just now; begins a check of it if one is due."""
        now = self._clock()
        if catalog in self._running or now < self._next.get(catalog, now):
            return
        if (catalog, product_id) in self._changing or (catalog, None) in self._changing:
            return
        self._next = {name: at for name, at in self._next.items() if at > now - FORGET_S} | {catalog: now}
        self._next[catalog] = now + EVERY_S * len(self._next)
        sample = Sample(catalog, product_id, np.array(embedding, np.float32), now)
        task = asyncio.create_task(self._check(sample), name=f"freshness-{catalog}")
        self._running[catalog] = sample, task
        task.add_done_callback(lambda _: self._running.pop(catalog))

    async def close(self) -> None:
        """Ends the checks that run, and their leases with them."""
        for _, task in list(self._running.values()):
            await cancelled(task)

    async def _check(self, sample: Sample) -> None:
        try:
            outcome = await self._search_until_found(sample)
        except (SightlineError, TimeoutError) as error:
            outcome = Missing.FAILED
            reason = error.message if isinstance(error, SightlineError) else f"no answer within {GIVE_UP_S:g} s"
            log.info("catalog %s: freshness not measured: %s", sample.catalog, reason)
        except Exception:  # a defect here must not end the measuring
            outcome = Missing.FAILED
            log.exception("catalog %s: freshness not measured", sample.catalog)
        if outcome is None:
            self._observer.found(sample.catalog, self._clock() - sample.at)
            return
        self._observer.not_found(sample.catalog, outcome.value)
        if outcome is Missing.MISSED:
            log.error(
                "catalog %s: product %r was not found within %g s of its acknowledgement; see "
                "SightlineFreshnessBurnsFast in the runbook",
                *(sample.catalog, sample.product_id, GIVE_UP_S),
            )

    async def _search_until_found(self, sample: Sample) -> Missing | None:
        """None once a search has returned the product. Raises `SightlineError`, and `TimeoutError` with no answer."""
        pause_s = FIRST_PAUSE_S
        try:
            async with asyncio.timeout(GIVE_UP_S):
                while True:
                    outcome = await self._search(sample)
                    if outcome is not Missing.MISSED:
                        return outcome
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        except TimeoutError:
            if sample.searched:
                return Missing.UNDECIDED if sample.changed else Missing.MISSED
            raise

    async def _search(self, sample: Sample) -> Missing | None:
        """One search in the view that is current now. Raises `SightlineError`."""
        with self._lease(sample.catalog) as snapshot:
            if snapshot.dimension != len(sample.embedding):  # it has got another embedder meanwhile
                return Missing.UNDECIDED
            query = VectorQuery(snapshot, sample.embedding, NEAREST)
            deadline = sample.at + GIVE_UP_S + LONGEST_PAUSE_S  # the check ends first
            answer = await self._queries.submit([query], deadline=deadline, lane=Lane.BATCH)
            near = found_or_raised(answer.results[0])
            returned = [product.id for product in snapshot.products([each.row for each in near])]
        sample.searched = True
        if sample.product_id in returned:
            return None
        crowded = len(near) == NEAREST and near[-1].similarity >= EQUAL
        return Missing.UNDECIDED if sample.changed or crowded else Missing.MISSED
