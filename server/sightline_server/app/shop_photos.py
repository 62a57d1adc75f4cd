"""Photos of a shop -> embeddings, by the steps of a search: decode, detect, hide people, crop, embed.

Rule: a photo is read, embedded and forgotten; what is returned are the embeddings of its objects. People are hidden as
in a search, and photos that cannot be used are reported by their names and left out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline_server.app.batchers import build_batchers
from sightline_server.app.clock import clock
from sightline_server.app.limits import photo_limits
from sightline_server.app.photo_threads import photo_threads
from sightline_server.domain.embedders import ServedEmbedder
from sightline_server.domain.geometry import Box
from sightline_server.domain.items import PhotoObject
from sightline_server.domain.request import Lane, SearchQuery
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.adapting.labels import ShopPhoto
from sightline_server.ports import Engine
from sightline_server.search.look import Look
from sightline_server.search.object_embedder import ObjectEmbedder
from sightline_server.settings import Settings
from sightline_server.stages.redact import Views
from sightline_server.stages.together import together
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.stopwatch import Stopwatch

PATIENCE_S = 300.0
"""Seconds that one photo may take."""
UNUSABLE = (ErrorKind.INVALID_IMAGE, ErrorKind.LIMIT_EXCEEDED)
"""Kinds of errors that cost one photo and not the run."""

Problem = Callable[[str], None]
"""Receives one line about a photo that is left out."""
Done = Callable[[int], None]
"""Receives the number of photos that are done."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPhotos:
    """Embeddings float32 [N,D] of objects in photos; object n is in photo `places[n]`, int [N]."""

    embeddings: NDArray[np.float32]
    places: NDArray[np.intp]


class PhotoEmbedding:
    """Embeds photos with one engine, by its embedder `spec`. `detect` searches for objects in photos without a box."""

    def __init__(self, look: Look, embedder: ObjectEmbedder, settings: Settings, *, detect: bool) -> None:
        self._look = look
        self._embedder = embedder
        self._settings = settings
        self._detect = detect

    async def embed(self, photos: Sequence[ShopPhoto], problem: Problem, done: Done) -> EmbeddedPhotos:
        """The embeddings of all photos that can be used, in their order. Raises `SightlineError` of the engine."""
        finished = 0

        async def one(photo: ShopPhoto) -> list[NDArray[np.float32]]:
            nonlocal finished
            found = await self._one(photo, problem)
            finished += 1
            done(finished)
            return found

        found = await together([partial(one, photo) for photo in photos])
        rows = [(place, vector) for place, vectors in enumerate(found) for vector in vectors]
        dimension = self._embedder.spec.dimension
        vectors = np.array([vector for _, vector in rows], np.float32).reshape(-1, dimension)
        return EmbeddedPhotos(vectors, np.array([place for place, _ in rows], np.intp))

    async def _one(self, photo: ShopPhoto, problem: Problem) -> list[NDArray[np.float32]]:
        try:
            content = await asyncio.to_thread(self._read, photo.path)
            found = await self._objects(content, photo.box)
        except OSError as error:
            problem(f"{photo.path.name}: it cannot be read ({error.strerror or type(error).__name__})")
            return []
        except SightlineError as error:
            if error.kind not in UNUSABLE:
                raise
            problem(f"{photo.path.name}: {error.message}")
            return []
        if not found:
            problem(f"{photo.path.name}: it shows nothing that is searched, such as a person only")
        return found

    def _read(self, path: Path) -> bytes:
        """The file, or more of it than a photo may have."""
        with path.open("rb") as file:
            return file.read(self._settings.limits.max_photo_bytes + 1)

    async def _objects(self, content: bytes, box: Box | None) -> list[NDArray[np.float32]]:
        """The embeddings of the objects of one photo."""
        regions = () if box is None and self._detect else (box or Box.whole(),)
        query = SearchQuery(
            request_id="",
            photo=content,
            deadline=clock() + PATIENCE_S,
            max_objects=self._settings.limits.max_objects,
            max_products=1,
            min_similarity=0.0,
            regions=regions,
            lane=Lane.BATCH,
        )
        watch = Stopwatch(clock)
        decoded = await self._look.decode(query, watch)
        choice = await self._look.choose(query, decoded, watch)
        objects: list[PhotoObject] = [each for each in choice.objects if each.object_id not in choice.on_person]
        if not objects:
            return []
        portion = await self._embedder.crop(Views(decoded.frame, choice.hidden), objects, watch)
        return [each.embedding for each in await self._embedder.embed(query, portion, watch)]


@asynccontextmanager
async def photo_embedding(
    settings: Settings, engine: Engine, embedder: ServedEmbedder, *, detect: bool
) -> AsyncIterator[PhotoEmbedding]:
    """The embedding of photos by `embedder` of `engine`, for the length of the block."""
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        batchers = build_batchers(stack, settings, engine, metrics)
        threads = photo_threads(stack, settings.decode, metrics)
        look = Look(
            engine=engine,
            frames=batchers.frames,
            threads=threads,
            limits=photo_limits(settings),
            detection=settings.detection,
        )
        middle = embedder.spec.search.middle(settings.detection.whole_photo_share)
        crops = batchers.crops_of[embedder.spec.identity]
        yield PhotoEmbedding(look, ObjectEmbedder(embedder.spec, crops, threads, middle), settings, detect=detect)
