"""The second half of a search: embeddings -> ranked products of one catalog.

Rule: nothing here knows of photos or pixels. The batcher is the only place where queries of several calls meet.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Protocol

from sightline_server.batching.batcher import MicroBatcher, copy_for_caller
from sightline_server.domain.items import (
    UNSURE_LABEL,
    EmbeddedObject,
    Neighbour,
    PhotoObject,
    RankedNeighbour,
    RankedProduct,
)
from sightline_server.domain.models import DETECTOR
from sightline_server.domain.request import SearchTerms
from sightline_server.domain.stages import RANK, SEARCH
from sightline_server.domain.verdict import NO_CLAIM, Verdict
from sightline_server.errors import SightlineError
from sightline_server.ports import CodedProducts, Engine, Snapshot
from sightline_server.settings import RankingSettings
from sightline_server.stages.rank import NO_REASONS, FurtherReasons, rank
from sightline_server.stages.search import Found, VectorQuery
from sightline_server.stages.show import show
from sightline_server.telemetry.stopwatch import Stopwatch

CodesByObject = Mapping[str, Sequence[CodedProducts]]
"""By the id of an object, the products that the codes on it name."""
NO_CODES: CodesByObject = MappingProxyType({})
ReasonsByObject = Mapping[str, FurtherReasons]
"""By the id of an object, further reasons for some of its products."""
QueriesBatcher = MicroBatcher[VectorQuery, Found]


class Comparison(Protocol):
    """A closer comparison of objects with the products near them, in one call."""

    @property
    def products(self) -> int:
        """The products of an object that are compared, those of the highest similarity."""

    async def reasons(self, objects: Sequence[PhotoObject], near: Sequence[Sequence[Neighbour]]) -> ReasonsByObject:
        """Compares each object with the products `near` it, nearest first. Raises nothing but a cancellation."""


class Find:
    """Searches embeddings in leased catalogs and ranks what is near."""

    def __init__(self, *, engine: Engine, queries: QueriesBatcher, ranking: RankingSettings) -> None:
        self.queries = queries
        self._engine = engine
        self._ranking = ranking

    async def products(
        self,
        query: SearchTerms,
        snapshot: Snapshot,
        objects: Sequence[EmbeddedObject],
        watch: Stopwatch,
        codes: CodesByObject = NO_CODES,
        comparison: Comparison | None = None,
    ) -> Mapping[str, tuple[RankedProduct, ...]]:
        """Object id -> the products of `snapshot` for it, best first. Raises `SightlineError`.

        The products of `codes`, which are of the same snapshot, come first. Objects without them go through
        `comparison`, where it is given.
        """
        if not objects:
            return {}
        with_code = [(each, coded) for each in objects for coded in codes.get(each.item.object_id, ())]
        k = query.max_products + self._ranking.extra_candidates
        if comparison is not None:
            k = max(k, comparison.products)
        verdict = snapshot.verdict
        if verdict is not None:
            # Without the comparison that it was fitted with, it would judge something else.
            judges = comparison is not None or not verdict.with_points
            k, verdict = max(k, verdict.neighbours), verdict if judges else NO_CLAIM
        asked = [VectorQuery(snapshot, each.embedding, k, query.one_per_group) for each in objects]
        asked += [VectorQuery(coded.snapshot, each.embedding, query.max_products) for each, coded in with_code]
        found = await self._search(query, asked, watch)
        exact: dict[str, list[Neighbour]] = {}
        for (each, _), neighbours in zip(with_code, found[len(objects) :], strict=True):
            exact.setdefault(each.item.object_id, []).extend(neighbours)
        further: ReasonsByObject = {}
        if comparison is not None:
            open_ones = [
                (each.item, near)
                for each, near in zip(objects, found[: len(objects)], strict=True)
                if each.item.object_id not in exact
            ]
            further = await comparison.reasons([item for item, _ in open_ones], [near for _, near in open_ones])
        with watch.step(RANK):
            ranked = [
                self._rank(query, each.item, near, exact.get(each.item.object_id, ()), further, verdict=verdict)
                for each, near in zip(objects, found[: len(objects)], strict=True)
            ]
            shown = show(snapshot, ranked)
        return {each.item.object_id: products for each, products in zip(objects, shown, strict=True)}

    def of_codes(
        self, query: SearchTerms, snapshot: Snapshot, objects: Sequence[PhotoObject], codes: CodesByObject
    ) -> Mapping[str, tuple[RankedProduct, ...]]:
        """Object id -> the products that its codes name, without any that only looks like it."""
        ranked = [self._rank(query, item, (), of_all(codes[item.object_id]), compared=False) for item in objects]
        return {item.object_id: shown for item, shown in zip(objects, show(snapshot, ranked), strict=True)}

    async def _search(
        self, query: SearchTerms, asked: Sequence[VectorQuery], watch: Stopwatch
    ) -> list[list[Neighbour]]:
        with watch.step(SEARCH) as step:
            answer = await self.queries.submit(asked, deadline=query.deadline, lane=query.lane, on_start=step.runs)
            return [found_or_raised(found) for found in answer.results]

    def _rank(
        self,
        query: SearchTerms,
        item: PhotoObject,
        neighbours: Sequence[Neighbour],
        coded: Sequence[Neighbour],
        further: ReasonsByObject = MappingProxyType({}),
        *,
        compared: bool = True,
        verdict: Verdict | None = None,
    ) -> tuple[RankedNeighbour, ...]:
        return rank(
            neighbours,
            "" if item.label == UNSURE_LABEL else item.label,
            limit=query.max_products,
            min_similarity=query.min_similarity,
            settings=self._ranking,
            synonyms=self._engine.spec(DETECTOR).vocabulary.synonyms,
            one_per_group=query.one_per_group,
            coded=coded,
            further=further.get(item.object_id, NO_REASONS),
            compared=compared,
            verdict=verdict,
        )


def of_all(codes: Sequence[CodedProducts]) -> list[Neighbour]:
    """The products of all of `codes`."""
    return list(chain.from_iterable(each.neighbours for each in codes))


def found_or_raised(found: Found) -> list[Neighbour]:
    """The neighbours of one query. Raises the error of its snapshot."""
    if isinstance(found, SightlineError):
        raise copy_for_caller(found)
    return found
