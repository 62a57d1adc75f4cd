"""Images -> embeddings, through the engine that also serves.

Rule: a catalog image takes the same steps as a query photo (`stages/`), so that equal pixels give equal vectors.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.feature_bytes import encode
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.local_features import LocalFeatures
from sightline_server.domain.models import EMBEDDER, EmbedderSpec, Role
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.links import UnreadableImageError
from sightline_server.ports import Engine
from sightline_server.stages.crop import image_crops
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.embed import check_embeddings
from sightline_server.stages.local_features import describing
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.printed_text.lines import readable_part
from sightline_server.stages.printed_text.reading import TextReading

log = logging.getLogger(__name__)

ValueT = TypeVar("ValueT")
Embed = Callable[[Sequence[NDArray[np.uint8]]], Awaitable[NDArray[np.float32]]]
"""Crops, each uint8 [h,w,3], to embeddings float32 [B,D], L2-normalised; any number of them."""

BATCH = 32
RETRIES = 3
PATIENCE_S = 120.0
IMAGE_FAULTS = (ErrorKind.INVALID_IMAGE, ErrorKind.LIMIT_EXCEEDED)
"""Kinds of errors that cost one image and not the build."""


def engine_embed(engine: Engine, patience_s: float = PATIENCE_S, *, role: Role[EmbedderSpec] = EMBEDDER) -> Embed:
    """`Embed` by the engine's embedder of `role`, in batches that it takes.

    An engine that fails has `patience_s` to recover before its error is passed on: hours of work should not
    be lost to a restart of seconds.
    """
    runner, spec = engine.runner(role), engine.spec(role)
    size = min(BATCH, spec.max_batch_size) if spec.max_batch_size else BATCH
    mended = asyncio.Event()
    engine.on_change(lambda ready: mended.set() if ready else mended.clear())

    async def infer(batch: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        for _ in range(RETRIES):
            try:
                return check_embeddings(await runner.infer({"CROPS": batch}, deadline=None), len(batch), spec)
            except SightlineError as error:
                if error.kind is not ErrorKind.ENGINE_UNAVAILABLE:
                    raise
                try:
                    async with asyncio.timeout(patience_s):
                        await mended.wait()
                except TimeoutError:
                    raise error from None
        return check_embeddings(await runner.infer({"CROPS": batch}, deadline=None), len(batch), spec)

    async def embed(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        batches = (crops[start : start + size] for start in range(0, len(crops), size))
        return np.concatenate([await infer(batch) for batch in batches])

    return embed


@dataclass(frozen=True, slots=True, eq=False)
class DescribedImage:
    """A catalog image: its `crops` for the embedder, uint8 [h,w,3], one for each view, and its local features as they
    are stored."""

    crops: tuple[NDArray[np.uint8], ...]
    features: bytes


async def catalog_crops(
    photo: bytes, threads: PhotoThreads, limits: DecodeLimits, spec: EmbedderSpec, views: int
) -> tuple[NDArray[np.uint8], ...]:
    """The image in up to `views` views at the embedder's input size, each uint8 [h,w,3]; the whole image comes first.

    Raises `UnreadableImageError`, and `SightlineError` for what is not the image's fault.
    """

    def viewed(frame: Frame) -> tuple[NDArray[np.uint8], ...]:
        return tuple(each.pixels for each in image_crops(frame, spec, views))

    return await of_image(photo, threads, limits, viewed)


async def described_image(
    photo: bytes,
    threads: PhotoThreads,
    limits: DecodeLimits,
    spec: EmbedderSpec,
    views: int,
    text: TextReading | None = None,
) -> DescribedImage:
    """As `catalog_crops`, with the local features of the whole image."""

    def viewed(frame: Frame) -> tuple[tuple[NDArray[np.uint8], ...], LocalFeatures, Frame | None]:
        return tuple(each.pixels for each in image_crops(frame, spec, views)), *described(frame, text)

    crops, features, part = await of_image(photo, threads, limits, viewed)
    return DescribedImage(crops, encode(await with_text(features, part, text)))


async def image_features(
    photo: bytes, threads: PhotoThreads, limits: DecodeLimits, text: TextReading | None = None
) -> bytes:
    """The local features of an image as they are stored. Raises as `catalog_crops`."""
    features, part = await of_image(photo, threads, limits, lambda frame: described(frame, text))
    return encode(await with_text(features, part, text))


def described(frame: Frame, text: TextReading | None) -> tuple[LocalFeatures, Frame | None]:
    """The local features of an image, and its pixels for reading its text where that is read."""
    part = None if text is None else readable_part(frame, Box.whole())
    return describing.image_features(frame), part


async def with_text(features: LocalFeatures, part: Frame | None, text: TextReading | None) -> LocalFeatures:
    """`features` with the text of their image; without, where it cannot be read: searches compare names then."""
    if part is None or text is None:
        return features
    try:
        return replace(features, text=await text.of(part))
    except Exception as error:  # whatever a library or a model raises, it costs the text of this image only
        log.warning("the text of an image of a product was not read: %s", type(error).__name__)
        return features


async def of_image(
    photo: bytes, threads: PhotoThreads, limits: DecodeLimits, then: Callable[[Frame], ValueT]
) -> ValueT:
    """The result of `then` on the pixels of an image. Raises as `catalog_crops`."""
    try:
        return await threads.decode(photo, limits, then, on_start=lambda: None)
    except SightlineError as error:
        if error.kind not in IMAGE_FAULTS:
            raise
        raise UnreadableImageError(error.message) from error
