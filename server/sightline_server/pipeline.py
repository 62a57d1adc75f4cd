"""The flow of one search: decode, choose and read codes, embed, `find`; events are sent as soon as each is known.

    a photo, crops   `_images`      decode -> detect -> hide people -> Detected -> crop, embed, find
                     `_further`     a second round, where one is wanted -> Detected -> crop, embed, find
    embeddings       `_embeddings`  Detected -> find
A text of the call is encoded meanwhile, and joins the embeddings before `find`.
Crops that a caller made are several photos, each of which is one object.
Rule: everything of a photo lives in the frames of `run` and of the tasks that end with it, and is gone with them. A
call leases its catalog once, before anything else, so that all of its events are about one revision and all of its
vectors are of the embedder of that revision.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from types import MappingProxyType

from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.batching.background import Background
from sightline_server.domain.catalogs import check_capabilities
from sightline_server.domain.embedders import other_embedder
from sightline_server.domain.events import Accepted, Detected, Done, Event, FailureReason, Notice, SkippedStep
from sightline_server.domain.filters import Filter
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.items import EmbeddedObject, ObjectSource, PhotoObject
from sightline_server.domain.models import DETECTOR, DetectorSpec, EmbedderSpec
from sightline_server.domain.request import EmbeddingsQuery, Lane, Query, SearchQuery, TextQuery
from sightline_server.domain.weights import Weights
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Catalogs, Clock, Engine, Snapshot
from sightline_server.search.codes import Codes, ReadCodes
from sightline_server.search.find import Find, QueriesBatcher
from sightline_server.search.local_features import FeatureComparisons
from sightline_server.search.look import DecodedPhoto, FramesBatcher, Look
from sightline_server.search.object_embedder import CropsBatcher, ObjectEmbedder, Portion
from sightline_server.search.outcomes import Outcome, Outcomes
from sightline_server.search.printed_text import PrintedTextComparisons
from sightline_server.search.printed_text_models import BatchedPrintedTextModels
from sightline_server.search.second_look import second_looks
from sightline_server.search.second_round import SecondRound
from sightline_server.search.text_encoder import EncodedText, TextEncoder
from sightline_server.search.under_way import Part, QueryT, Search, Seen
from sightline_server.settings import (
    CodeSettings,
    DetectionSettings,
    LocalFeatureSettings,
    PrintedTextSettings,
    RankingSettings,
)
from sightline_server.stages.choose import Choice
from sightline_server.stages.codes.objects import join
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.redact import Views
from sightline_server.stages.together import together
from sightline_server.stages.uncancelled import cancelled
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.stopwatch import PLACES, Stopwatch
from sightline_server.telemetry.tracing import OFF, Tracing


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """The parts of the settings that the pipeline uses."""

    decode: DecodeLimits
    detection: DetectionSettings
    ranking: RankingSettings
    codes: CodeSettings
    local_features: LocalFeatureSettings
    local_features_of: Mapping[str, bool]
    """The catalogs for which `local_features.enabled` does not count, with what counts instead."""
    printed_text: PrintedTextSettings
    weights: Mapping[str, Weights]
    """The weights for the catalogs of each embedder, by its identity."""


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
        self.second_round = SecondRound(
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
        self.codes = Codes(threads, settings.codes, metrics, clock)
        self.features = FeatureComparisons(
            *(threads, settings.local_features, settings.local_features_of, settings.weights, metrics, clock)
        )
        self.printed_texts = PrintedTextComparisons(
            threads, printed_text_models, settings.printed_text, settings.weights, metrics, clock
        )
        self._outcomes = Outcomes(metrics)
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
                steps = self._embeddings(Search(query, snapshot, embedder, watch, text=text))
            else:
                steps = self._images([Search(each, snapshot, embedder, watch, text=text) for each in query.images()])
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

    async def _images(self, searches: Sequence[Search[SearchQuery]]) -> AsyncGenerator[Event, None]:
        """The search of a photo, or of several crops."""
        query, snapshot, watch = searches[0].query, searches[0].snapshot, searches[0].watch
        photos = await together([partial(self.look.decode, each.query, watch) for each in searches])
        yield Accepted(query.request_id, snapshot.name, snapshot.revision)
        seen = await together([partial(self._see, *each) for each in zip(searches, photos, strict=True)])
        # The detector's inputs are not needed any more, and the frame only for a second round.
        frame = photos[0].frame if query.look_closer else None
        del photos
        yield Detected(tuple(chain(*(each.choice.objects for each in seen))), sum(each.redacted for each in seen))
        for each in seen:
            for item in each.choice.objects:
                if item.object_id in each.choice.on_person:
                    yield self._outcomes.failure(item, FailureReason.PERSON)
        for each in seen:
            for answer in self._of_codes(each.search, each.choice.objects):
                yield answer
        async with aclosing(self._answers([part for each in seen for part in each.parts()])) as answers:
            async for answer in answers:
                yield answer
        skipped = list(chain(*(each.skipped for each in seen)))
        if frame is not None:
            async with aclosing(self._further(seen[0], frame, skipped)) as events:
                async for event in events:
                    yield event
        yield self._done(searches[0], self.detector.identity, seen[0].choice.notice, tuple(dict.fromkeys(skipped)))

    async def _further(self, first: Seen, frame: Frame, skipped: list[SkippedStep]) -> AsyncGenerator[Event, None]:
        """The events of the objects that only a second round finds; adds to `skipped` what was left out."""
        further = await self.second_round.further(first, frame)
        if further is None:
            skipped.append(SkippedStep.LOOK_CLOSER)
            return
        yield Detected(further.seen.choice.objects, further.people, further=True)
        async with aclosing(self._answers(further.seen.parts())) as answers:
            async for answer in answers:
                yield answer
        skipped.extend(further.seen.skipped)

    async def _see(self, search: Search[SearchQuery], photo: DecodedPhoto) -> Seen:
        """The objects of a photo, its codes, and its views without people."""
        query, snapshot, watch = search.query, search.snapshot, search.watch
        choice, read = await self._look(query, photo, snapshot, watch)
        coded = join(query, choice, await self.codes.matched(snapshot, read.codes))
        views = Views(photo.frame, choice.hidden)
        comparison = second_looks(
            self.features.of_call(query, views, snapshot, watch),
            self.printed_texts.of_call(query, views, snapshot, watch),
        )
        return Seen(replace(search, codes=coded.codes, comparison=comparison), views, coded.choice, read)

    async def _embeddings(self, search: Search[EmbeddingsQuery]) -> AsyncGenerator[Event, None]:
        """The search of embeddings that the caller made: nothing is decoded, detected or embedded."""
        query, snapshot, spec = search.query, search.snapshot, search.embedder.spec
        # Checked with the request, and once more: the catalog may have got another embedder since.
        if query.embedder != spec.identity:
            raise other_embedder(spec.identity)
        yield Accepted(query.request_id, snapshot.name, snapshot.revision)
        objects = [
            EmbeddedObject(PhotoObject(f"o{number}", Box.whole(), ObjectSource.EMBEDDING), embedding)
            for number, embedding in enumerate(query.embeddings(), start=1)
        ]
        items = tuple(each.item for each in objects)
        yield Detected(items)
        for answer in await self._products(search, items, objects):
            yield answer
        yield self._done(search, detector="")

    async def _look(
        self, query: SearchQuery, photo: DecodedPhoto, snapshot: Snapshot, watch: Stopwatch
    ) -> tuple[Choice, ReadCodes]:
        """The objects of a photo and its codes, looked for at the same time."""
        async with self.codes.reading(query, photo.frame, snapshot, watch) as reading:
            return await self.look.choose(query, photo, watch), await reading

    def _of_codes(self, search: Search[SearchQuery], objects: Sequence[PhotoObject]) -> list[Outcome]:
        """The events of the objects that are codes alone: nothing is embedded for them."""
        alone = [item for item in objects if item.source is ObjectSource.CODE]
        products = self.find.of_codes(search.query, search.snapshot, alone, search.codes)
        return self._outcomes.of_portion(alone, products, search.query.request_id)

    async def _answers(self, parts: Sequence[Part]) -> AsyncGenerator[Outcome, None]:
        """The events of the objects in their order; those of the first part while the next ones are under way."""
        if not parts:
            return
        head, *tail = parts
        first = await head.search.embedder.crop(head.views, head.objects, head.search.watch)
        # They begin with their crops, so the first part is in the embedder's queue before them.
        rest = [asyncio.create_task(self._later(each)) for each in tail]
        try:
            for answer in await self._answer(head.search, first):
                yield answer
            while rest:
                for answer in await rest.pop(0):
                    yield answer
        finally:
            # Taken out of the list: a task that failed would keep the photo alive in a circle with this frame.
            while rest:
                await cancelled(rest.pop())

    async def _later(self, part: Part) -> list[Outcome]:
        search = part.search
        return await self._answer(search, await search.embedder.crop(part.views, part.objects, search.watch))

    async def _answer(self, search: Search[SearchQuery], portion: Portion) -> list[Outcome]:
        query = search.query
        try:
            embedded = await search.embedder.embed(query, portion, search.watch)
        except SightlineError as error:
            return self._outcomes.of_error(portion.objects, error, query.request_id)
        return await self._products(search, portion.objects, embedded)

    async def _products(
        self, search: Search[QueryT], objects: Sequence[PhotoObject], embedded: Sequence[EmbeddedObject]
    ) -> list[Outcome]:
        """The events of `objects`, of which `embedded` are those that can be searched."""
        query = search.query
        try:
            if search.text is not None:
                embedded = await search.text.join(embedded)
            products = await self.find.products(
                query, search.snapshot, embedded, search.watch, search.codes, search.comparison
            )
        except SightlineError as error:
            return self._outcomes.of_error(objects, error, query.request_id)
        return self._outcomes.of_portion(objects, products, query.request_id)

    def _done(
        self, search: Search[QueryT], detector: str, notice: Notice | None = None, skipped: tuple[SkippedStep, ...] = ()
    ) -> Done:
        snapshot = search.snapshot
        return Done(
            timings=search.watch.timings(),
            catalog=snapshot.name,
            catalog_revision=snapshot.revision,
            detector=detector,
            embedder=search.embedder.spec.identity,
            request_id=search.query.request_id,
            notice=notice,
            applied_filter=snapshot.applied_filter,
            skipped=skipped,
            text_weight=search.text.weight if search.text is not None else 0.0,
        )
