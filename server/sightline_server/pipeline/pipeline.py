"""The entry of a search: leases the catalog, takes the flow of images or of embeddings, streams its events.

Rule: a call leases its catalog once, before anything else, so that all of its events are about one revision and all of
its vectors are of the embedder of that revision. `__init__.py` shows the flow from here on.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager, aclosing, nullcontext
from types import MappingProxyType

from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.batching.background import Background
from sightline_server.domain.catalogs import check_capabilities
from sightline_server.domain.events import Event
from sightline_server.domain.filters import Filter
from sightline_server.domain.models import DETECTOR, DetectorSpec, EmbedderSpec
from sightline_server.domain.request import EmbeddingsQuery, Lane, Query, TextQuery
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.pipeline.answers import Answers
from sightline_server.pipeline.embeddings import EmbeddingsFlow
from sightline_server.pipeline.images import ImagesFlow
from sightline_server.pipeline.objects import ObjectFinder
from sightline_server.pipeline.settings import PipelineSettings
from sightline_server.ports import Catalogs, Clock, Engine, Snapshot
from sightline_server.search.codes import Codes
from sightline_server.search.find import Find, QueriesBatcher
from sightline_server.search.local_features import FeatureComparisons
from sightline_server.search.look import FramesBatcher, Look
from sightline_server.search.object_embedder import CropsBatcher, ObjectEmbedder
from sightline_server.search.outcomes import Outcomes
from sightline_server.search.printed_text import PrintedTextComparisons
from sightline_server.search.printed_text_models import BatchedPrintedTextModels
from sightline_server.search.second_round import SecondRound
from sightline_server.search.text_encoder import EncodedText, TextEncoder
from sightline_server.search.under_way import Search
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.stopwatch import PLACES, Stopwatch
from sightline_server.telemetry.tracing import OFF, Tracing


class Pipeline:
    """Runs searches on one engine and its catalogs.

    `crops_of` has a batcher for each embedder, by its identity; `text_encoders` those that there are, by the same.
    Printed text is read where there are `printed_text_models`.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        catalogs: Catalogs,
        frames: FramesBatcher,
        crops_of: Mapping[str, CropsBatcher],
        text_encoders: Mapping[str, TextEncoder] = MappingProxyType({}),
        queries: QueriesBatcher,
        background: Background,
        threads: PhotoThreads,
        settings: PipelineSettings,
        metrics: Metrics,
        clock: Clock,
        tracing: Tracing = OFF,
        printed_text_models: BatchedPrintedTextModels | None = None,
    ) -> None:
        self.look = Look(
            engine=engine,
            frames=frames,
            threads=threads,
            limits=settings.decode,
            detection=settings.detection,
        )
        second_round = SecondRound(
            engine=engine,
            frames=frames,
            threads=threads,
            detection=settings.detection,
            metrics=metrics,
            clock=clock,
        )
        share = settings.detection.whole_photo_share
        self.embedders = {
            each.spec.identity: ObjectEmbedder(
                each.spec, crops_of[each.spec.identity], threads, each.spec.search.middle(share)
            )
            for each in engine.embedders.models
        }
        self.text_encoders = text_encoders
        self.find = Find(engine=engine, queries=queries, ranking=settings.ranking)
        codes = Codes(threads, settings.codes, metrics, clock)
        self.features = FeatureComparisons(
            *(threads, settings.local_features, settings.local_features_of, settings.weights, metrics, clock)
        )
        printed_texts = PrintedTextComparisons(
            threads, printed_text_models, settings.printed_text, settings.weights, metrics, clock
        )
        answers = Answers(self.find, Outcomes(metrics))
        objects = ObjectFinder(self.look, codes, self.features, printed_texts)
        self._images = ImagesFlow(engine, objects, answers, second_round)
        self._embeddings = EmbeddingsFlow(answers)
        self._engine = engine
        self._catalogs = catalogs
        self._background = background
        self._metrics = metrics
        self._clock = clock
        self._tracing = tracing
        for place in PLACES:
            metrics.left_calls.labels(*place)

    async def run(self, query: Query, catalog: CatalogPass) -> AsyncGenerator[Event, None]:
        """Streams the events of one search, all about the revision of `catalog` that is current at its begin.

        Raises `SightlineError`. UNKNOWN_CATALOG, FILTER_UNSUPPORTED, GROUPS_UNSUPPORTED, EMBEDDER_MISMATCH,
        INVALID_IMAGE and LIMIT_EXCEEDED are raised before `Accepted`, so that a refusal comes before the first event.
        """
        watch = Stopwatch(self._clock, self._tracing)
        with self._ahead(query), self._catalogs.lease(catalog) as leased:
            check_capabilities(leased.capabilities, filtered=bool(query.wanted), by_group=query.one_per_group)
            snapshot, embedder = await self._selected(leased, query.wanted), self.embedder_of(leased)
            # Begun before anything else, so that the call need not wait for it.
            text = None if query.text is None else self._encoded(query, query.text, leased, watch)
            if isinstance(query, EmbeddingsQuery):
                steps = self._embeddings.events(Search(query, snapshot, embedder, watch, text=text))
            else:
                steps = self._images.events(
                    [Search(each, snapshot, embedder, watch, text=text) for each in query.images()]
                )
            try:
                async with aclosing(steps) as events:
                    async for event in events:
                        with watch.sending():
                            yield event
            except (asyncio.CancelledError, GeneratorExit):
                if text is not None:
                    # It may be what the call was waiting for.
                    await text.end()
                watch.count_left(self._metrics)
                raise
            finally:
                if text is not None:
                    await text.end()
                watch.report(self._metrics)

    def embedder_for(self, catalog: CatalogPass) -> EmbedderSpec:
        """The embedder of the current revision of `catalog`. Raises `SightlineError` as a lease does."""
        with self._catalogs.lease(catalog) as leased:
            return self.embedder_of(leased).spec

    def text_encoder_for(self, catalog: CatalogPass) -> TextEncoder | None:
        """The text encoder of the current revision of `catalog`; None where its embedder has none.

        Raises `SightlineError` as a lease does.
        """
        with self._catalogs.lease(catalog) as leased:
            return self.text_encoders.get(leased.embedder)

    def embedders_for(self, catalog: CatalogPass) -> Mapping[str, EmbedderSpec]:
        """The embedder of each catalog that a pass to the whole server shows, by the catalog's name."""
        identities = self._catalogs.embedders(catalog)
        return {name: self.embedders[each].spec for name, each in identities.items() if each in self.embedders}

    @property
    def detector(self) -> DetectorSpec:
        """The detector."""
        return self._engine.spec(DETECTOR)

    def embedder_of(self, snapshot: Snapshot) -> ObjectEmbedder:
        """The embedder that a catalog is bound to. Raises `SightlineError` of kind INTERNAL where it is not served."""
        try:
            return self.embedders[snapshot.embedder]
        except KeyError as error:
            raise SightlineError(ErrorKind.INTERNAL, "internal error") from error

    def _encoded(self, query: Query, text: TextQuery, leased: Snapshot, watch: Stopwatch) -> EncodedText:
        return EncodedText.begin(self.text_encoders.get(leased.embedder), query, text, watch)

    def _ahead(self, query: Query) -> AbstractContextManager[None]:
        """Images of products wait while an interactive search is inside; one of the batch lane is their equal."""
        return self._background.call() if query.lane is Lane.INTERACTIVE else nullcontext()

    async def _selected(self, leased: Snapshot, wanted: Filter) -> Snapshot:
        snapshot = await leased.select(wanted)
        if snapshot.applied_filter is not None:
            self._metrics.filtered_searches.labels(snapshot.name, snapshot.applied_filter.plan.kind.value).inc()
        return snapshot
