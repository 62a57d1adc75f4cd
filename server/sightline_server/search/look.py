"""The first half of a search: photo -> objects; `object_embedder` makes their embeddings.

Rule: nothing here knows of a catalog, a product or an embedder. One thread hop decodes and makes the detector's input;
the batcher is the only place where photos meet.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sightline_server.batching.batcher import MicroBatcher
from sightline_server.domain.image import Frame, ModelInput
from sightline_server.domain.items import Scene
from sightline_server.domain.models import DETECTOR
from sightline_server.domain.request import SearchQuery
from sightline_server.domain.stages import DECODE, DETECT
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Engine
from sightline_server.settings import DetectionSettings
from sightline_server.stages.choose import Choice, choose
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.detect import RawDetections, detector_input, finds_people, to_scene
from sightline_server.stages.grow import grown, to_grow
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.unsure import with_unsure
from sightline_server.telemetry.stopwatch import Stopwatch

Pixels = NDArray[np.uint8]
FramesBatcher = MicroBatcher[Pixels, RawDetections]


@dataclass(frozen=True, slots=True)
class DecodedPhoto:
    """A photo's frame, and the detector's input where the photo goes through the detector."""

    frame: Frame
    seen: ModelInput | None


class Look:
    """Finds the objects of photos by the detector of one engine."""

    def __init__(
        self,
        *,
        engine: Engine,
        frames: FramesBatcher,
        threads: PhotoThreads,
        limits: DecodeLimits,
        detection: DetectionSettings,
    ) -> None:
        self.frames = frames
        self._engine = engine
        self._threads = threads
        self._limits = limits
        self._detection = detection

    async def decode(self, query: SearchQuery, watch: Stopwatch) -> DecodedPhoto:
        """The query's photo or crop. Raises `SightlineError` of kind INVALID_IMAGE or LIMIT_EXCEEDED."""
        detector = self._engine.spec(DETECTOR)
        # Every photo goes through a detector that may find people, also one with boxes.
        wanted = query.needs_detector or finds_people(detector, self._detection)

        def prepared(frame: Frame) -> DecodedPhoto:
            return DecodedPhoto(frame, detector_input(frame, detector) if wanted else None)

        with watch.step(DECODE) as step:
            if not query.crop:
                return await self._threads.decode(query.photo, self._limits, prepared, on_start=step.runs)
            try:
                limits = shared(self._limits, query.crops)
                return await self._threads.decode(query.photo, limits, prepared, on_start=step.runs)
            except SightlineError as error:
                raise of_crop(error, query.crop) from error

    async def choose(self, query: SearchQuery, photo: DecodedPhoto, watch: Stopwatch) -> Choice:
        """The objects of a photo, best first. Raises `SightlineError`: INTERNAL for an invalid detector's answer."""
        scene = Scene() if photo.seen is None else await self._detect(query, photo.seen, watch)
        choice = choose(query, photo.frame, scene, self._detection)
        if query.has_taps and self._detection.grow_taps and to_grow(choice):
            return await self._threads.run(lambda: grown(choice, query.regions, photo.frame, self._detection))
        return choice

    async def _detect(self, query: SearchQuery, seen: ModelInput, watch: Stopwatch) -> Scene:
        with watch.step(DETECT) as step:
            try:
                answer = await self.frames.submit(
                    [seen.pixels], deadline=query.deadline, lane=query.lane, on_start=step.runs
                )
                return self._scene(query, answer.results[0], seen)
            except SightlineError as error:
                if error.kind is ErrorKind.MODEL_ANSWER:
                    raise SightlineError(ErrorKind.INTERNAL, "internal error") from error
                raise

    def _scene(self, query: SearchQuery, raw: RawDetections, seen: ModelInput) -> Scene:
        spec, settings = self._engine.spec(DETECTOR), self._detection
        scene = to_scene(raw, seen.placement, spec, settings)
        lowest = lowest_score(query, settings)
        if not 0.0 < lowest < settings.min_score:
            return scene
        return with_unsure(scene, raw, seen.placement, spec, settings, lowest)


def lowest_score(query: SearchQuery, settings: DetectionSettings) -> float:
    """The confidence down to which the detections of a photo are of use; 0 where only those of `min_score` are."""
    if query.has_taps:
        return settings.tap_min_score
    return 0.0 if query.regions else settings.unsure_min_score


def shared(limits: DecodeLimits, crops: int) -> DecodeLimits:
    """The limits on each of several crops, which together have the pixels of one photo, before and after decoding."""
    edge = max(1, int(limits.max_edge / math.sqrt(crops)))
    return replace(limits, max_pixels=max(1, limits.max_pixels // crops), max_edge=edge)


def of_crop(error: SightlineError, number: int) -> SightlineError:
    """The error of crop `number`, from 1, of a request."""
    field = f"crops[{number - 1}]"
    return SightlineError(error.kind, f"{field}: {error.message}", field=field, metadata=error.metadata)
