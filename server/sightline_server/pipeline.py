"""The way of one photo: decode, detect, crop, embed, search, rank, show; events out as each one is known.

Rule: everything of a photo lives in the frames of `run` and of the tasks that end with it, and is gone with them. One
thread hop decodes and makes the input of the detector, one makes the crops of a portion; the three batchers are the
only places where photos meet. A call leases its catalog once, before anything else, so that all of its events are about
one revision.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.batching.batcher import MicroBatcher, copy_for_caller
from sightline_server.domain.events import (
    Accepted,
    Detected,
    Done,
    Event,
    FailureReason,
    Notice,
    ObjectFailure,
    ObjectResults,
)
from sightline_server.domain.image import Frame, ModelInput
from sightline_server.domain.items import Neighbour, PhotoObject, RankedProduct, Scene
from sightline_server.domain.models import DETECTOR, EMBEDDER
from sightline_server.domain.request import SearchQuery
from sightline_server.domain.stages import CROP, DECODE, DETECT, EMBED, RANK, SEARCH
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Catalogs, Clock, Engine, Snapshot
from sightline_server.settings import DetectionSettings, RankingSettings
from sightline_server.stages.choose import choose
from sightline_server.stages.crop import crop
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.detect import RawDetections, detector_input, finds_people, to_scene
from sightline_server.stages.embed import usable
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.portions import portions
from sightline_server.stages.rank import rank
from sightline_server.stages.search import Found, VectorQuery
from sightline_server.stages.show import show
from sightline_server.stages.uncancelled import cancelled
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.stopwatch import PLACES, Stopwatch
from sightline_server.telemetry.tracing import OFF, Tracing

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]
Embedding = NDArray[np.float32]
FramesBatcher = MicroBatcher[Pixels, RawDetections]
CropsBatcher = MicroBatcher[Pixels, Embedding]
QueriesBatcher = MicroBatcher[VectorQuery, Found]

OBJECT_FAULTS = {
    ErrorKind.MODEL_ANSWER: FailureReason.MODEL_ANSWER,
    ErrorKind.INTERNAL: FailureReason.INTERNAL,
}
"""Kinds that fail the objects concerned; every other kind ends the call."""

MESSAGES = {FailureReason.PERSON: "this part of the photo shows mostly a person, and people are not searched"}
"""What the caller is told; other reasons share one message."""


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """The parts of the settings that the pipeline uses."""

    decode: DecodeLimits
    detection: DetectionSettings
    ranking: RankingSettings


class Pipeline:
    """Runs searches on one engine and its catalogs."""

    def __init__(
        self,
        *,
        engine: Engine,
        catalogs: Catalogs,
        frames: FramesBatcher,
        crops: CropsBatcher,
        queries: QueriesBatcher,
        threads: PhotoThreads,
        settings: PipelineSettings,
        metrics: Metrics,
        clock: Clock,
        tracing: Tracing = OFF,
    ) -> None:
        self._engine = engine
        self._catalogs = catalogs
        self._frames = frames
        self._crops = crops
        self._queries = queries
        self._threads = threads
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._tracing = tracing
        for outcome in ("searched", *(reason.value for reason in FailureReason)):
            metrics.objects.labels(outcome)
        for place in PLACES:
            metrics.left_calls.labels(*place)

    async def run(self, query: SearchQuery, catalog: CatalogPass) -> AsyncGenerator[Event, None]:
        """Streams the events of one search, all about the revision of `catalog` that is current at its begin.

        Raises `SightlineError`. UNKNOWN_CATALOG, INVALID_IMAGE and LIMIT_EXCEEDED are raised before `Accepted`, so that
        a refusal comes before the first event.
        """
        watch = Stopwatch(self._clock, self._tracing)
        with self._catalogs.lease(catalog) as snapshot:
            try:
                async with aclosing(self._run(query, snapshot, watch)) as events:
                    async for event in events:
                        with watch.sending():
                            yield event
            except (asyncio.CancelledError, GeneratorExit):
                watch.count_left(self._metrics)
                raise
            finally:
                watch.report(self._metrics)

    async def _run(self, query: SearchQuery, snapshot: Snapshot, watch: Stopwatch) -> AsyncGenerator[Event, None]:
        frame, seen = await self._decode(query, watch)
        yield Accepted(query.request_id, snapshot.name, snapshot.revision)
        scene = Scene() if seen is None else await self._detect(query, seen, watch)
        choice = choose(query, frame, scene, self._settings.detection)
        yield Detected(choice.objects)
        for item in choice.objects:
            if item.object_id in choice.on_person:
                yield self._failure(item, FailureReason.PERSON)
        objects = tuple(item for item in choice.objects if item.object_id not in choice.on_person)
        async with aclosing(self._answers(query, snapshot, frame, objects, watch)) as events:
            async for event in events:
                yield event
        yield self._done(query, snapshot, watch, choice.notice)

    @property
    def _needs_people(self) -> bool:
        """Whether every photo goes through the detector, boxes too, because it may find people there."""
        return finds_people(self._engine.spec(DETECTOR), self._settings.detection)

    def _done(self, query: SearchQuery, snapshot: Snapshot, watch: Stopwatch, notice: Notice | None) -> Done:
        return Done(
            timings=watch.timings(),
            catalog=snapshot.name,
            catalog_revision=snapshot.revision,
            detector=self._engine.spec(DETECTOR).identity,
            embedder=self._engine.spec(EMBEDDER).identity,
            request_id=query.request_id,
            notice=notice,
        )

    async def _decode(self, query: SearchQuery, watch: Stopwatch) -> tuple[Frame, ModelInput | None]:
        wanted = query.needs_detector or self._needs_people

        def prepared(frame: Frame) -> tuple[Frame, ModelInput | None]:
            return frame, detector_input(frame, self._engine.spec(DETECTOR)) if wanted else None

        with watch.step(DECODE) as step:
            return await self._threads.decode(query.photo, self._settings.decode, prepared, on_start=step.runs)

    async def _detect(self, query: SearchQuery, seen: ModelInput, watch: Stopwatch) -> Scene:
        with watch.step(DETECT) as step:
            try:
                answer = await self._frames.submit(
                    [seen.pixels], deadline=query.deadline, lane=query.lane, on_start=step.runs
                )
                return to_scene(
                    answer.results[0], seen.placement, self._engine.spec(DETECTOR), self._settings.detection
                )
            except SightlineError as error:
                if error.kind is ErrorKind.MODEL_ANSWER:
                    raise SightlineError(ErrorKind.INTERNAL, "internal error") from error
                raise

    async def _answers(
        self,
        query: SearchQuery,
        snapshot: Snapshot,
        frame: Frame,
        objects: Sequence[PhotoObject],
        watch: Stopwatch,
    ) -> AsyncGenerator[ObjectResults | ObjectFailure, None]:
        """The events of the objects in their order; those of the first portion while the next ones are under way."""
        first, *others = portions(objects, self._engine.spec(EMBEDDER).batch_cost) or [()]
        if not first:
            return
        crops = await self._crop(frame, first, watch)
        # Its first step is the crops, so what follows here is in the embedder's queue before it.
        rest = [asyncio.create_task(self._later(query, snapshot, frame, portion, watch)) for portion in others]
        try:
            for event in await self._answer(query, snapshot, first, crops, watch):
                yield event
            while rest:
                for event in await rest.pop(0):
                    yield event
        finally:
            # Taken out of the list: a task that failed would keep the photo alive in a circle with this frame.
            while rest:
                await cancelled(rest.pop())

    async def _later(
        self, query: SearchQuery, snapshot: Snapshot, frame: Frame, objects: Sequence[PhotoObject], watch: Stopwatch
    ) -> list[ObjectResults | ObjectFailure]:
        crops = await self._crop(frame, objects, watch)
        return await self._answer(query, snapshot, objects, crops, watch)

    async def _answer(
        self,
        query: SearchQuery,
        snapshot: Snapshot,
        objects: Sequence[PhotoObject],
        crops: list[Pixels],
        watch: Stopwatch,
    ) -> list[ObjectResults | ObjectFailure]:
        try:
            embeddings = await self._embed(query, crops, watch)
            sound = [usable(embedding) for embedding in embeddings]
            wanted = [embedding for embedding, good in zip(embeddings, sound, strict=True) if good]
            found = await self._search(query, snapshot, wanted, watch) if wanted else []
        except SightlineError as error:
            reason = OBJECT_FAULTS.get(error.kind)
            if reason is None:
                raise
            log.error("objects not searched", exc_info=error, extra={"request_id": query.request_id})
            return [self._failure(item, reason) for item in objects]
        if not all(sound):
            log.error("objects without a usable embedding", extra={"request_id": query.request_id})
        searched = [item for item, good in zip(objects, sound, strict=True) if good]
        answers = iter(self._rank(query, snapshot, searched, found, watch) if searched else ())
        return [
            self._results(item, next(answers)) if good else self._failure(item, FailureReason.MODEL_ANSWER)
            for item, good in zip(objects, sound, strict=True)
        ]

    def _rank(
        self,
        query: SearchQuery,
        snapshot: Snapshot,
        objects: Sequence[PhotoObject],
        found: list[list[Neighbour]],
        watch: Stopwatch,
    ) -> list[tuple[RankedProduct, ...]]:
        with watch.step(RANK):
            ranked = [
                rank(
                    neighbours,
                    item.label,
                    limit=query.max_products,
                    min_similarity=query.min_similarity,
                    settings=self._settings.ranking,
                    synonyms=self._engine.spec(DETECTOR).vocabulary.synonyms,
                    one_per_group=query.one_per_group,
                )
                for item, neighbours in zip(objects, found, strict=True)
            ]
            return show(snapshot, ranked)

    def _results(self, item: PhotoObject, products: tuple[RankedProduct, ...]) -> ObjectResults:
        self._metrics.objects.labels("searched").inc()
        return ObjectResults(item.object_id, products)

    def _failure(self, item: PhotoObject, reason: FailureReason) -> ObjectFailure:
        self._metrics.objects.labels(reason.value).inc()
        return ObjectFailure(item.object_id, reason, MESSAGES.get(reason, "this object could not be searched"))

    async def _crop(self, frame: Frame, objects: Sequence[PhotoObject], watch: Stopwatch) -> list[Pixels]:
        spec = self._engine.spec(EMBEDDER)
        with watch.step(CROP) as step:

            def work() -> list[Pixels]:
                step.runs()
                return [crop(frame, item.box, spec).pixels for item in objects]

            return await self._threads.run(work)

    async def _embed(self, query: SearchQuery, crops: list[Pixels], watch: Stopwatch) -> list[Embedding]:
        with watch.step(EMBED) as step:
            answer = await self._crops.submit(crops, deadline=query.deadline, lane=query.lane, on_start=step.runs)
            return list(answer.results)

    async def _search(
        self, query: SearchQuery, snapshot: Snapshot, embeddings: list[Embedding], watch: Stopwatch
    ) -> list[list[Neighbour]]:
        k = query.max_products + self._settings.ranking.extra_candidates
        with watch.step(SEARCH) as step:
            asked = [VectorQuery(snapshot, embedding, k, query.one_per_group) for embedding in embeddings]
            answer = await self._queries.submit(asked, deadline=query.deadline, lane=query.lane, on_start=step.runs)
            return [found_or_raised(found) for found in answer.results]


def found_or_raised(found: Found) -> list[Neighbour]:
    """The neighbours of one query. Raises the error of its snapshot."""
    if isinstance(found, SightlineError):
        raise copy_for_caller(found)
    return found
