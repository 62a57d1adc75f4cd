"""Images of products that are written while the server serves -> embeddings, through the batcher of the searches.

Rule: a build's own steps (`catalog_crops`, the embedder), so that equal images give equal vectors. Searches go first:
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
from sightline_server.ingest.embedding import catalog_crops, image_features
from sightline_server.ingest.links import UnreadableImageError
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.embed import usable
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.printed_text.reading import TextReading

Crop = NDArray[np.uint8]
Crops: TypeAlias = "MicroBatcher[Crop, NDArray[np.float32]]"

PORTION = 8
"""Images that are embedded together where they share the cost of a batch."""
PORTIONS = 2
"""Portions of products that are in work at once: one is decoded while the other one is embedded."""
AGAIN_S = 0.05
"""Seconds before a portion is sent again that found the queue full of searches."""


class ServedImages:
    """`ports.ImageEmbedder` by the parts that also serve searches; `text` reads what is printed on images."""

    def __init__(
        self,
        threads: PhotoThreads,
        limits: DecodeLimits,
        spec: EmbedderSpec,
        crops: Crops,
        background: Background,
        text: TextReading | None = None,
    ) -> None:
        self._threads = threads
        self._limits = limits
        self._spec = spec
        self._crops = crops
        self._background = background
        self._text = text
        self._size = piece_size(spec)
        self._turns = asyncio.Semaphore(PORTIONS)

    async def embed(self, images: Sequence[bytes], *, deadline: float, views: int = 1) -> list[NDArray[np.float32]]:
        """See `ports.ImageEmbedder`."""
        portions = [
            await self._portion(images[start : start + self._size], start, deadline, views)
            for start in range(0, len(images), self._size)
        ]
        return [vectors for portion in portions for vectors in portion]

    async def describe(self, images: Sequence[bytes]) -> list[bytes]:
        """See `ports.ImageEmbedder`."""
        return [await self._features(image, place) for place, image in enumerate(images)]

    async def _features(self, image: bytes, place: int) -> bytes:
        await self._background.pause()
        try:
            return await image_features(image, self._threads, self._limits, self._text)
        except UnreadableImageError as error:
            raise unreadable(place, error) from error

    async def _portion(
        self, images: Sequence[bytes], start: int, deadline: float, views: int
    ) -> list[NDArray[np.float32]]:
        async with self._turns:
            crops = [await self._crops_of(image, place, views) for place, image in enumerate(images, start)]
            found = await self._in_pieces([crop for each in crops for crop in each], deadline)
        if not all(map(usable, found)):
            raise SightlineError(ErrorKind.MODEL_ANSWER, "the embedder's answer is not finite")
        vectors = iter(found)
        return [np.stack([next(vectors) for _ in each]) for each in crops]

    async def _in_pieces(self, crops: Sequence[Crop], deadline: float) -> list[NDArray[np.float32]]:
        """The embeddings of `crops`, of which views may make more than one turn takes."""
        pieces = [crops[start : start + self._size] for start in range(0, len(crops), self._size)]
        return [vector for piece in pieces for vector in await self._embedded(piece, deadline)]

    async def _crops_of(self, image: bytes, place: int, views: int) -> tuple[Crop, ...]:
        await self._background.pause()
        try:
            return await catalog_crops(image, self._threads, self._limits, self._spec, views)
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
