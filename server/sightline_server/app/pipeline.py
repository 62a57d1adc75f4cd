"""The pipeline with its three batchers and its threads."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline_server.app.clock import clock
from sightline_server.app.limits import photo_limits, process_limits
from sightline_server.batching.batcher import BatchFunction, MicroBatcher
from sightline_server.batching.window import Window
from sightline_server.domain.models import DETECTOR, EMBEDDER, ModelSpec
from sightline_server.domain.preprocess import WHOLE_IMAGE
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.pipeline import Pipeline, PipelineSettings
from sightline_server.ports import Catalogs, Engine
from sightline_server.settings import BatchSettings, DecodeSettings, Settings
from sightline_server.stages.detect import RawDetections, finds_people, split_answer
from sightline_server.stages.embed import split_embeddings
from sightline_server.stages.photo_threads import PhotoThreads, large_photo_threads
from sightline_server.stages.processes.pool import ENDS, DecodeProcesses
from sightline_server.stages.search import Found, VectorQuery, search
from sightline_server.telemetry.metrics import BatcherMetrics, Metrics
from sightline_server.telemetry.tracing import Tracing

log = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Device:
    """A device that runs batches: the most items of one call (0: any number), and the calls that keep it busy."""

    max_batch: int
    slots: int

    @classmethod
    def of(cls, spec: ModelSpec) -> Self:
        """A model: one call for each instance, and one that is there already when the first of them ends."""
        return cls(spec.max_batch_size, spec.instances + 1)


INDEX = Device(max_batch=0, slots=1)
"""One owner thread, whatever the batch."""


async def build_pipeline(
    stack: AsyncExitStack,
    settings: Settings,
    engine: Engine,
    catalogs: Catalogs,
    metrics: Metrics,
    tracing: Tracing,
) -> Pipeline:
    """The pipeline of `engine` and `catalogs`; what it starts ends with `stack`.

    Raises `SightlineError` of kind CONFIGURATION when one photo's objects do not fit into a batch.
    """
    part, limits = settings.batching, settings.limits
    seen, spec = engine.spec(DETECTOR), engine.spec(EMBEDDER)
    if not finds_people(seen, settings.detection):
        log.warning("people in photos are searched: the detector has none of the labels in detection.person_labels")
    elif seen.preprocess.fit not in WHOLE_IMAGE:
        log.warning("people at the edges of photos are searched: the detector's preprocess cuts the edges off")

    async def detect(items: Sequence[Pixels], *, deadline: float) -> list[RawDetections]:
        answer = await engine.runner(DETECTOR).infer({"IMAGES": items}, deadline=deadline)
        return split_answer(answer, len(items), seen)

    async def embed(items: Sequence[Pixels], *, deadline: float) -> list[NDArray[np.float32]]:
        answer = await engine.runner(EMBEDDER).infer({"CROPS": items}, deadline=deadline)
        return list(split_embeddings(answer, len(items), spec))

    async def look_up(items: Sequence[VectorQuery], *, deadline: float) -> list[Found]:
        return await search(items)

    detector, embedder = Device.of(seen), Device.of(spec)
    frames = batcher(stack, "frames", detect, part.frames, detector, metrics)
    crops = batcher(stack, "crops", embed, part.crops, embedder, metrics)
    queries = batcher(stack, "queries", look_up, part.queries, INDEX, metrics)
    objects = max(limits.max_objects, limits.max_regions)
    room = min(crops.max_batch, queries.max_batch, part.crops.max_waiting, part.queries.max_waiting)
    if objects > room:
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"one photo may have {objects} objects, but a batch or its queue holds {room}"
        )
    return Pipeline(
        engine=engine,
        catalogs=catalogs,
        frames=frames,
        crops=crops,
        queries=queries,
        threads=photo_threads(stack, settings.decode, metrics),
        settings=PipelineSettings(
            photo_limits(settings),
            settings.detection,
            settings.ranking,
        ),
        metrics=metrics,
        clock=clock,
        tracing=tracing,
    )


def photo_threads(stack: AsyncExitStack, settings: DecodeSettings, metrics: Metrics) -> PhotoThreads:
    """The threads and processes for photos of the settings; they end with `stack`."""
    processes = decode_processes(stack, settings, metrics)
    ordinary = ThreadPoolExecutor(settings.threads, thread_name_prefix="photos")
    large_count = max(1, settings.threads - 1)
    large = large_photo_threads(large_count)
    for executor in (ordinary, large):
        stack.callback(executor.shutdown, wait=True, cancel_futures=True)
    return PhotoThreads(ordinary, large, large_count, processes)


def decode_processes(stack: AsyncExitStack, settings: DecodeSettings, metrics: Metrics) -> DecodeProcesses:
    """The decode processes of the settings, none of which is started yet; they end with `stack`."""
    # A counter that appears with its first end hides that end from rate().
    counters = {reason: metrics.decode_process_ends.labels(reason) for reason in ENDS}
    processes = DecodeProcesses(process_limits(settings), on_end=lambda reason: counters[reason].inc())
    stack.push_async_callback(processes.close)
    return processes


def batcher(
    stack: AsyncExitStack,
    name: str,
    run: BatchFunction[ItemT, ResultT],
    settings: BatchSettings,
    device: Device,
    metrics: Metrics,
) -> MicroBatcher[ItemT, ResultT]:
    """A batcher that closes with `stack`, with the settings as far as `device` allows them."""
    max_batch = min(settings.max_batch, device.max_batch) if device.max_batch else settings.max_batch
    window: Window[ItemT] = Window(max_batch=max_batch, max_waiting=settings.max_waiting, lanes=len(Lane))
    slots = settings.slots or device.slots
    made = MicroBatcher(run, window, slots=slots, clock=clock, observer=BatcherMetrics(metrics, name))
    stack.push_async_callback(made.close)
    return made
