"""The second half of a search: embeddings -> ranked products of one catalog.

Rule: nothing here knows of photos or pixels. The batcher is the only place where queries of several calls meet.
"""

from collections.abc import Mapping, Sequence

from sightline_server.batching.batcher import MicroBatcher, copy_for_caller
from sightline_server.domain.items import EmbeddedObject, Neighbour, RankedNeighbour, RankedProduct
from sightline_server.domain.models import DETECTOR
from sightline_server.domain.request import SearchQuery
from sightline_server.domain.stages import RANK, SEARCH
from sightline_server.errors import SightlineError
from sightline_server.ports import Engine, Snapshot
from sightline_server.settings import RankingSettings
from sightline_server.stages.rank import rank
from sightline_server.stages.search import Found, VectorQuery
from sightline_server.stages.show import show
from sightline_server.telemetry.stopwatch import Stopwatch

QueriesBatcher = MicroBatcher[VectorQuery, Found]


class Find:
    """Searches embeddings in leased catalogs and ranks what is near."""

    def __init__(self, *, engine: Engine, queries: QueriesBatcher, ranking: RankingSettings) -> None:
        self.queries = queries
        self._engine = engine
        self._ranking = ranking

    async def products(
        self, query: SearchQuery, snapshot: Snapshot, objects: Sequence[EmbeddedObject], watch: Stopwatch
    ) -> Mapping[str, tuple[RankedProduct, ...]]:
        """Object id -> the products of `snapshot` for it, best first. Raises `SightlineError`."""
        if not objects:
            return {}
        nearest = await self._search(query, snapshot, objects, watch)
        with watch.step(RANK):
            ranked = [self._rank(query, each, near) for each, near in zip(objects, nearest, strict=True)]
            shown = show(snapshot, ranked)
        return {each.item.object_id: products for each, products in zip(objects, shown, strict=True)}

    async def _search(
        self, query: SearchQuery, snapshot: Snapshot, objects: Sequence[EmbeddedObject], watch: Stopwatch
    ) -> list[list[Neighbour]]:
        k = query.max_products + self._ranking.extra_candidates
        with watch.step(SEARCH) as step:
            asked = [VectorQuery(snapshot, each.embedding, k, query.one_per_group) for each in objects]
            answer = await self.queries.submit(asked, deadline=query.deadline, lane=query.lane, on_start=step.runs)
            return [found_or_raised(found) for found in answer.results]

    def _rank(
        self, query: SearchQuery, each: EmbeddedObject, neighbours: Sequence[Neighbour]
    ) -> tuple[RankedNeighbour, ...]:
        return rank(
            neighbours,
            each.item.label,
            limit=query.max_products,
            min_similarity=query.min_similarity,
            settings=self._ranking,
            synonyms=self._engine.spec(DETECTOR).vocabulary.synonyms,
            one_per_group=query.one_per_group,
        )


def found_or_raised(found: Found) -> list[Neighbour]:
    """The neighbours of one query. Raises the error of its snapshot."""
    if isinstance(found, SightlineError):
        raise copy_for_caller(found)
    return found
