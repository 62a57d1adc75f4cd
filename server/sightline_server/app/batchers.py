"""The batchers of a process: frames for the detector, crops for each embedder, queries for the catalogs, and the images
of printed text where it is read.

Rule: a batch of crops is of one embedder; the first one's batcher is called `crops` in metrics, and each of the others
`crops/` and its folder.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline_models.embedders import TEXT
from sightline_server.app.clock import clock
from sightline_server.app.printed_text_models import finding_by, reading_by
from sightline_server.batching.background import Background
from sightline_server.batching.batcher import BatchFunction, MicroBatcher
from sightline_server.batching.window import Window
from sightline_server.domain.embedders import ServedEmbedder
from sightline_server.domain.models import DETECTOR, EMBEDDER, EmbedderSpec, ModelSpec, Role
from sightline_server.domain.printed_text_models import TEXT_DETECTOR, TEXT_READER
from sightline_server.domain.request import Lane
from sightline_server.domain.text_encoders import ServedTextEncoder
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Engine
from sightline_server.search.printed_text_models import BatchedPrintedTextModels
from sightline_server.settings import BatchSettings, Settings
from sightline_server.stages.detect import RawDetections, split_answer
from sightline_server.stages.embed import split_embeddings, split_vectors
from sightline_server.stages.search import Found, VectorQuery, search
from sightline_server.telemetry.batches import BatcherMetrics
from sightline_server.telemetry.metrics import Metrics

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
Pixels = NDArray[np.uint8]
Embedding = NDArray[np.float32]
Tokens = NDArray[np.int64]


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


@dataclass(frozen=True, slots=True)
class Batchers:
    """The batchers that all calls of a process share."""

    frames: MicroBatcher[Pixels, RawDetections]
    crops_of: Mapping[str, MicroBatcher[Pixels, Embedding]]
    """By the identity of the embedder, the first one first."""
    queries: MicroBatcher[VectorQuery, Found]
    background: Background
    """The turns of the work that lets searches go first."""
    printed_text: BatchedPrintedTextModels | None = None
    """The models that read printed text; None where none is read."""


def build_batchers(stack: AsyncExitStack, settings: Settings, engine: Engine, metrics: Metrics) -> Batchers:
    """The batchers in front of the models of `engine` and of the catalogs; they close with `stack`.

    Raises `SightlineError` of kind CONFIGURATION when one photo's objects do not fit into a batch.
    """
    part, detector = settings.batching, engine.spec(DETECTOR)
    batchers = Batchers(
        frames=batcher(stack, "frames", detection_by(engine), part.frames, Device.of(detector), metrics),
        crops_of={
            each.spec.identity: batcher(
                stack, crops_label(each), embedding_by(engine, each.role), part.crops, Device.of(each.spec), metrics
            )
            for each in engine.embedders.models
        },
        queries=batcher(stack, "queries", search_all, part.queries, INDEX, metrics),
        background=Background(clock=clock, on_wait=metrics.batches.background_wait_seconds.observe),
        printed_text=printed_text_batchers(stack, settings, engine, metrics) if settings.printed_text.enabled else None,
    )
    check_capacity(batchers, settings)
    return batchers


def detection_by(engine: Engine) -> BatchFunction[Pixels, RawDetections]:
    """The function that runs the detector of `engine` on inputs uint8 [H,W,3]."""
    spec = engine.spec(DETECTOR)

    async def detect(items: Sequence[Pixels], *, deadline: float) -> list[RawDetections]:
        answer = await engine.runner(DETECTOR).infer({"IMAGES": items}, deadline=deadline)
        return split_answer(answer, len(items), spec)

    return detect


def printed_text_batchers(
    stack: AsyncExitStack, settings: Settings, engine: Engine, metrics: Metrics
) -> BatchedPrintedTextModels:
    """The batchers in front of the models that read printed text; they close with `stack`."""
    detector, reader, part = engine.spec(TEXT_DETECTOR), engine.spec(TEXT_READER), settings.batching
    return BatchedPrintedTextModels(
        detector,
        reader,
        batcher(stack, "text_images", finding_by(engine), part.text_images, Device.of(detector), metrics),
        batcher(stack, "text_lines", reading_by(engine), part.text_lines, Device.of(reader), metrics),
        clock,
    )


def crops_label(embedder: ServedEmbedder) -> str:
    """The name in metrics of the batcher of an embedder's crops; there are as many as embedders."""
    return "crops" if embedder.role == EMBEDDER else f"crops/{embedder.role}"


def embedding_by(engine: Engine, role: Role[EmbedderSpec] = EMBEDDER) -> BatchFunction[Pixels, Embedding]:
    """The function that runs the embedder of this role on crops uint8 [H,W,3]."""
    spec = engine.spec(role)

    async def embed(items: Sequence[Pixels], *, deadline: float) -> list[Embedding]:
        answer = await engine.runner(role).infer({"CROPS": items}, deadline=deadline)
        return list(split_embeddings(answer, len(items), spec))

    return embed


def texts_label(text_encoder: ServedTextEncoder) -> str:
    """The name in metrics of the batcher of a text encoder's texts."""
    return "texts" if text_encoder.role == TEXT else f"texts/{text_encoder.role}"


def texts_with(engine: Engine, text_encoder: ServedTextEncoder) -> BatchFunction[Tokens, Embedding]:
    """The function that runs a text encoder on rows of token ids int64 [L]."""
    dimension = text_encoder.spec.dimension

    async def encode(items: Sequence[Tokens], *, deadline: float) -> list[Embedding]:
        answer = await engine.runner(text_encoder.role).infer({"TOKENS": items}, deadline=deadline)
        return list(split_vectors(answer, len(items), dimension, "text encoder"))

    return encode


async def search_all(items: Sequence[VectorQuery], *, deadline: float) -> list[Found]:
    """Searches each query in its own snapshot; a search that runs is not interrupted at `deadline`."""
    return await search(items)


def check_capacity(batchers: Batchers, settings: Settings) -> None:
    """Raises `SightlineError` of kind CONFIGURATION when one photo's objects do not fit into a batch or its queue."""
    part, limits = settings.batching, settings.limits
    objects = max(limits.max_objects, limits.max_regions)
    capacities = {identity: min(each.max_batch, part.crops.max_waiting) for identity, each in batchers.crops_of.items()}
    capacities["index"] = min(batchers.queries.max_batch, part.queries.max_waiting)
    name, capacity = min(capacities.items(), key=lambda each: each[1])
    if objects > capacity:
        message = f"one photo may have {objects} objects, but a batch or its queue holds {capacity} (of {name})"
        raise SightlineError(ErrorKind.CONFIGURATION, message)


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
    batching = MicroBatcher(run, window, slots=slots, clock=clock, observer=BatcherMetrics(metrics.batches, name))
    stack.push_async_callback(batching.close)
    return batching
