"""Photos of a shop -> embeddings, by the steps of a search: decode, detect, hide people, crop, embed.

Rule: a photo is read, embedded and forgotten; what is returned are the embeddings of its objects, and the local
features of those that are asked for. People are hidden as
in a search, and photos that cannot be used are reported by their names and left out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
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
from sightline_server.domain.items import EmbeddedObject, PhotoObject
from sightline_server.domain.local_features import LocalFeatures
from sightline_server.domain.request import Lane, SearchQuery
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.adapting.labels import ShopPhoto
from sightline_server.ports import Engine
from sightline_server.search.look import Look
from sightline_server.search.object_embedder import ObjectEmbedder
from sightline_server.settings import Settings
from sightline_server.stages.local_features.evidence import object_features
from sightline_server.stages.photo_threads import PhotoThreads
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
Embedded = tuple[NDArray[np.float32], LocalFeatures | None]
"""The embedding of an object, and its local features where they are asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPhotos:
    """Embeddings float32 [N,D] of objects in photos; object n is in photo `places[n]`, int [N].

    `described` has the local features of each, None where they were not asked for.
    """

    embeddings: NDArray[np.float32]
    places: NDArray[np.intp]
    described: tuple[LocalFeatures | None, ...]


class PhotoEmbedding:
    """Embeds photos with one engine, by its embedder `spec`. `detect` searches for objects in photos without a box."""

    def __init__(
        self, look: Look, embedder: ObjectEmbedder, threads: PhotoThreads, settings: Settings, *, detect: bool
    ) -> None:
        self._look = look
        self._embedder = embedder
        self._threads = threads
        self._middle = Box.middle(settings.local_features.whole_photo_share)
        self._settings = settings
        self._detect = detect

    async def embed(
        self, photos: Sequence[ShopPhoto], problem: Problem, done: Done, described: Collection[int] = ()
    ) -> EmbeddedPhotos:
        """The embeddings of all photos that can be used, in their order, and the features of those at `described`.

        Raises `SightlineError` of the engine.
        """
        finished = 0

        async def one(place: int, photo: ShopPhoto) -> list[Embedded]:
            nonlocal finished
            found = await self._one(photo, problem, describe=place in described)
            finished += 1
            done(finished)
            return found

        found = await together([partial(one, place, photo) for place, photo in enumerate(photos)])
        rows = [(place, *each) for place, objects in enumerate(found) for each in objects]
        dimension = self._embedder.spec.dimension
        vectors = np.array([vector for _, vector, _ in rows], np.float32).reshape(-1, dimension)
        places = np.array([place for place, _, _ in rows], np.intp)
        return EmbeddedPhotos(vectors, places, tuple(features for _, _, features in rows))

    async def _one(self, photo: ShopPhoto, problem: Problem, *, describe: bool) -> list[Embedded]:
        try:
            content = await asyncio.to_thread(self._read, photo.path)
            found = await self._objects(content, photo.box, describe=describe)
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

    async def _objects(self, content: bytes, box: Box | None, *, describe: bool) -> list[Embedded]:
        """The embeddings of the objects of one photo, and their features where they are to be described."""
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
        views = Views(decoded.frame, choice.hidden)
        portion = await self._embedder.crop(views, objects, watch)
        embedded = await self._embedder.embed(query, portion, watch)
        if not describe:
            return [(each.embedding, None) for each in embedded]
        return await self._threads.run(lambda: self._described(views, embedded))

    def _described(self, views: Views, embedded: Sequence[EmbeddedObject]) -> list[Embedded]:
        """The embeddings and the local features of objects; on a thread."""
        return [(each.embedding, object_features(views, each.item, self._middle)) for each in embedded]


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
        object_embedder = ObjectEmbedder(embedder.spec, crops, threads, middle)
        yield PhotoEmbedding(look, object_embedder, threads, settings, detect=detect)
