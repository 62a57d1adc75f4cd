"""A second comparison of an object with the products nearest to it, which finds further reasons for their ranks.

    SecondLooks -> SecondLook, one for each way of comparing -> Way.compared, an object at a time
Rule: it only ever adds reasons. Without time, or when a comparison fails, an object is ranked by what is known of it,
and `skipped` names the step. What is made of a photo lives in the comparison of one object, and no longer.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, Self

from sightline_server.domain.events import SkippedStep
from sightline_server.domain.items import Neighbour, PhotoObject, Reason, ReasonKind
from sightline_server.domain.request import SearchQuery
from sightline_server.domain.stages import Stage
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Clock
from sightline_server.stages.rank import FurtherReasons
from sightline_server.stages.redact import Views
from sightline_server.telemetry.stopwatch import Step, Stopwatch

log = logging.getLogger(__name__)

MATCHED, UNMATCHED, SKIPPED, FAILED = "matched", "unmatched", "skipped", "failed"
OUTCOMES = (MATCHED, UNMATCHED, SKIPPED, FAILED)
NO_TIME = frozenset({ErrorKind.DEADLINE_EXCEEDED, ErrorKind.OVERLOADED, ErrorKind.STOPPING})
"""Errors of a model that works, for which there was no time."""


class Counter(Protocol):
    """A counter of the metrics."""

    def inc(self) -> object:
        """Counts one more."""


class Bounds(Protocol):
    """The limits of one way of comparing."""

    @property
    def most_products(self) -> int:
        """Products of an object that are compared."""

    @property
    def most_objects(self) -> int:
        """Objects of a photo that are compared."""

    @property
    def min_time_left_s(self) -> float:
        """Seconds until the deadline below which an object is not compared."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The name of one way of comparing in messages, the reason that it finds, and where it is timed and reported."""

    name: str
    reason: ReasonKind
    stage: Stage
    skipped: SkippedStep


@dataclass(frozen=True, slots=True)
class Conditions:
    """The limits of one way of comparing in every call, its counters by outcome, and the clock of deadlines."""

    kind: Kind
    bounds: Bounds
    counts: Mapping[str, Counter]
    clock: Clock

    def is_late(self, query: SearchQuery) -> bool:
        """Returns whether the deadline of `query` is too near for another object."""
        return query.deadline - self.clock() < self.bounds.min_time_left_s

    def seconds_for(self, query: SearchQuery) -> float:
        """Seconds that the comparison of one object may take.

        The other half of the time that must be left is for the ranking and the answer.
        """
        return query.deadline - self.bounds.min_time_left_s / 2 - self.clock()


class Way(Protocol):
    """One way of comparing, in one call."""

    async def compared(self, item: PhotoObject, neighbours: Sequence[Neighbour], step: Step) -> FurtherReasons | None:
        """The reasons for `neighbours`, which are at least one; None where there was no time.

        Whatever it raises costs the reasons alone.
        """

    def with_views(self, views: Views) -> Self:
        """The same for further objects, which see the photo in other views."""


class SecondLook:
    """`find.Comparison` in one way; `skipped` names the step if an object was left out."""

    def __init__(
        self, way: Way, query: SearchQuery, watch: Stopwatch, conditions: Conditions, objects_left: int | None = None
    ) -> None:
        self._way = way
        self._query = query
        self._watch = watch
        self._conditions = conditions
        self._objects_left = conditions.bounds.most_objects if objects_left is None else objects_left
        self.products = conditions.bounds.most_products
        self.skipped: tuple[SkippedStep, ...] = ()

    def with_views(self, views: Views) -> "SecondLook":
        """The comparison of further objects, which see the photo in other views; they count as objects of the photo."""
        return SecondLook(self._way.with_views(views), self._query, self._watch, self._conditions, self._objects_left)

    async def reasons(
        self, objects: Sequence[PhotoObject], near: Sequence[Sequence[Neighbour]]
    ) -> dict[str, FurtherReasons]:
        """See `find.Comparison`. Objects are compared one after the other: other photos need the threads, too."""
        found: dict[str, FurtherReasons] = {}
        for item, neighbours in zip(objects, near, strict=True):
            if not neighbours:
                continue
            if self._objects_left == 0:
                found[item.object_id] = self._left_out(SKIPPED)
            else:
                self._objects_left -= 1
                found[item.object_id] = await self._of_object(item, neighbours[: self.products])
        return found

    async def _of_object(self, item: PhotoObject, neighbours: Sequence[Neighbour]) -> FurtherReasons:
        conditions = self._conditions
        if conditions.is_late(self._query):
            return self._left_out(SKIPPED)
        with self._watch.step(conditions.kind.stage) as step:
            # A queue reports a passed deadline only when a batch ends, and a batch runs until the latest deadline of
            # its callers: neither they nor a busy thread may cost this caller its answer.
            limit = asyncio.timeout(conditions.seconds_for(self._query))
            try:
                async with limit:
                    found = await self._way.compared(item, neighbours, step)
            except Exception as error:  # whatever a library, a model or a file raises, the object is ranked without it
                if limit.expired() or (isinstance(error, SightlineError) and error.kind in NO_TIME):
                    return self._left_out(SKIPPED)
                name = conditions.kind.name
                log.error("%s not compared: %s", name, cause(error), extra={"request_id": self._query.request_id})
                return self._left_out(FAILED)
        if found is None:
            return self._left_out(SKIPPED)
        matched = any(each.kind is conditions.kind.reason for reasons in found.values() for each in reasons)
        conditions.counts[MATCHED if matched else UNMATCHED].inc()
        return found

    def _left_out(self, outcome: str) -> FurtherReasons:
        self._conditions.counts[outcome].inc()
        self.skipped = (self._conditions.kind.skipped,)
        return {}


@dataclass(frozen=True, slots=True)
class SecondLooks:
    """`find.Comparison` in several ways, one after the other."""

    looks: tuple[SecondLook, ...]

    @property
    def products(self) -> int:
        """See `find.Comparison`."""
        return max(look.products for look in self.looks)

    @property
    def skipped(self) -> tuple[SkippedStep, ...]:
        """The steps of which an object was left out."""
        return tuple(chain.from_iterable(look.skipped for look in self.looks))

    def with_views(self, views: Views) -> "SecondLooks":
        """See `SecondLook.with_views`."""
        return SecondLooks(tuple(look.with_views(views) for look in self.looks))

    async def reasons(
        self, objects: Sequence[PhotoObject], near: Sequence[Sequence[Neighbour]]
    ) -> dict[str, FurtherReasons]:
        """See `find.Comparison`."""
        found = [await look.reasons(objects, near) for look in self.looks]
        if len(found) == 1:
            return found[0]
        names = dict.fromkeys(chain.from_iterable(found))
        return {name: joined(*(each[name] for each in found if name in each)) for name in names}


def cause(error: Exception) -> str:
    """The cause of a failed comparison as the log says it.

    The message of a file that cannot be used names the file and the remedy. Other messages may quote what was read.
    """
    if not isinstance(error, SightlineError):
        return type(error).__name__
    return error.message if error.kind is ErrorKind.CONFIGURATION else error.kind.value


def second_looks(*looks: SecondLook | None) -> SecondLooks | None:
    """The comparisons of one call; None where there is none."""
    kept = tuple(look for look in looks if look is not None)
    return SecondLooks(kept) if kept else None


def joined(*parts: Mapping[str, Sequence[Reason]]) -> dict[str, tuple[Reason, ...]]:
    """The reasons of all `parts`."""
    found: dict[str, tuple[Reason, ...]] = {}
    for part in parts:
        for product_id, reasons in part.items():
            found[product_id] = (*found.get(product_id, ()), *reasons)
    return found
