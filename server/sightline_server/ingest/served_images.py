"""Images of products that are written while the server serves -> embeddings, through the batcher of the searches.

Rule: a build's own steps (`catalog_crop`, the embedder), so that equal images give equal vectors. Searches go first:
an image is decoded, and embedded in its turn, while no search is inside, or after a bounded wait (`Background`).
"""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sightline_server.batching.background import Background
from sightline_server.batching.batcher import MicroBatcher
from sightline_server.domain.models import BatchCost, EmbedderSpec
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.embedding import catalog_crop, image_features
from sightline_server.ingest.links import UnreadableImageError
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.embed import usable
from sightline_server.stages.photo_threads import PhotoThreads

Crop = NDArray[np.uint8]
Crops: TypeAlias = "MicroBatcher[Crop, NDArray[np.float32]]"

PORTION = 8
"""Images that are embedded together where they share the cost of a batch."""
PORTIONS = 2
"""Portions of products that are in work at once: one is decoded while the other one is embedded."""
AGAIN_S = 0.05
"""Seconds before a portion is sent again that found the queue full of searches."""


class ServedImages:
    """`ports.ImageEmbedder` by the parts that also serve searches."""

    def __init__(
        self, threads: PhotoThreads, limits: DecodeLimits, spec: EmbedderSpec, crops: Crops, background: Background
    ) -> None:
        self._threads = threads
        self._limits = limits
        self._spec = spec
        self._crops = crops
        self._background = background
        self._size = piece_size(spec)
        self._turns = asyncio.Semaphore(PORTIONS)

    async def embed(self, images: Sequence[bytes], *, deadline: float) -> NDArray[np.float32]:
        """See `ports.ImageEmbedder`."""
        portions = [
            await self._portion(images[start : start + self._size], start, deadline)
            for start in range(0, len(images), self._size)
        ]
        return np.concatenate(portions)

    async def describe(self, images: Sequence[bytes]) -> list[bytes]:
        """See `ports.ImageEmbedder`."""
        return [await self._features(image, place) for place, image in enumerate(images)]

    async def _features(self, image: bytes, place: int) -> bytes:
        await self._background.pause()
        try:
            return await image_features(image, self._threads, self._limits)
        except UnreadableImageError as error:
            raise unreadable(place, error) from error

    async def _portion(self, images: Sequence[bytes], start: int, deadline: float) -> NDArray[np.float32]:
        async with self._turns:
            crops = [await self._crop(image, place) for place, image in enumerate(images, start)]
            vectors = np.stack(await self._embedded(crops, deadline))
        if not all(map(usable, vectors)):
            raise SightlineError(ErrorKind.MODEL_ANSWER, "the embedder's answer is not finite")
        return vectors

    async def _crop(self, image: bytes, place: int) -> Crop:
        await self._background.pause()
        try:
            return await catalog_crop(image, self._threads, self._limits, self._spec)
        except UnreadableImageError as error:
            raise unreadable(place, error) from error

    async def _embedded(self, crops: Sequence[Crop], deadline: float) -> Sequence[NDArray[np.float32]]:
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with self._background.turn():
                    return (await self._crops.submit(crops, deadline=deadline, lane=Lane.BATCH)).results
            except SightlineError as error:
                if error.kind is not ErrorKind.OVERLOADED or loop.time() + AGAIN_S > deadline:
                    raise
            await asyncio.sleep(AGAIN_S)


def unreadable(place: int, error: UnreadableImageError) -> SightlineError:
    """The error of the image at `place`."""
    field = f"images[{place}]"
    return SightlineError(ErrorKind.INVALID_IMAGE, f"{field}: {error}", field=field)


def piece_size(spec: EmbedderSpec) -> int:
    """Images in one turn at the embedder: one where a batch costs what its images cost, since a search may come."""
    return PORTION if spec.batch_cost is BatchCost.SHARED else 1
