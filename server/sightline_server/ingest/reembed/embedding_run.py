"""The images of a catalog -> embeddings of another embedder, in the cache of the reembedding.

Rule: groups of products in their order; while one is embedded, the images of the next are read and decoded. Whatever
fails for an image is a `Problem` of its product. A group that was embedded is in the cache, whatever happens later.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import SightlineError
from sightline_server.index.originals import KeptOriginals
from sightline_server.index.reembedding import ProductToEmbed
from sightline_server.ingest.building.report import Progress
from sightline_server.ingest.embedding import Embed, catalog_crops
from sightline_server.ingest.feed_rows import Problem, ProblemKind
from sightline_server.ingest.guard import Losses
from sightline_server.ingest.link_secrets import masked_link
from sightline_server.ingest.links import UnreadableImageError
from sightline_server.ingest.reembed.cache import EmbeddingCache
from sightline_server.ingest.reembed.sources import StoredImage, StoredImages
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.photo_threads import PhotoThreads

GROUP_PRODUCTS = 32


@dataclass(frozen=True, slots=True)
class ImagesOf:
    """A product with its images, and its number among those to embed, from 1."""

    row: int
    id: str
    images: tuple[StoredImage, ...]


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """The crops uint8 [h,w,3] of an image, one for each view, and the name of its original file."""

    crops: tuple[NDArray[np.uint8], ...]
    file: str


Outcome = DecodedImage | UnreadableImageError
Distinct: TypeAlias = Mapping[str, Sequence[int]]
"""The positions of the different images of each product, by its id."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The collaborators of a run."""

    images: StoredImages
    originals: KeptOriginals
    cache: EmbeddingCache
    threads: PhotoThreads
    limits: DecodeLimits
    embedder: EmbedderSpec
    embed: Embed
    progress: Progress
    views: int = ONE_VIEW


@dataclass(slots=True)
class EmbeddingRun:
    """One run; `problems` and `losses` are complete when it has ended."""

    parts: Parts
    problems: list[Problem] = field(default_factory=list)
    losses: Losses = field(default_factory=Losses)
    _decoding: dict[bytes, asyncio.Task[Outcome]] = field(default_factory=dict)
    _failed: dict[bytes, str] = field(default_factory=dict)

    async def run(self, products: Iterator[ImagesOf]) -> None:
        """Embeds every image that the cache does not have.

        Raises `SightlineError`: the kinds of the engine, of the disk, and CONFIGURATION for a malformed proxy.
        """
        try:
            group = self._begin(products)
            while group:
                following = self._begin(products)
                await self._finish(group)
                group = following
        finally:
            tasks = list(self._decoding.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, products: Iterator[ImagesOf]) -> Sequence[ImagesOf]:
        """Begins to read the images of the next products."""
        group = list(islice(products, GROUP_PRODUCTS))
        for image in (image for product in group for image in product.images):
            known = image.key in self._failed or image.key in self._decoding
            if not known and self.parts.cache.get(image.key) is None:
                self._decoding[image.key] = asyncio.create_task(self._decoded(image))
        return group

    async def _finish(self, group: Sequence[ImagesOf]) -> None:
        """Embeds the images of a group, and reports the products that lack some."""
        decoded: dict[bytes, DecodedImage] = {}
        for key in dict.fromkeys(image.key for product in group for image in product.images):
            if (task := self._decoding.get(key)) is None:
                continue
            outcome = await task
            if isinstance(outcome, UnreadableImageError):
                self._failed[key] = str(outcome)
            else:
                decoded[key] = outcome
            del self._decoding[key]
        if decoded:
            made = await self.parts.embed([crop for each in decoded.values() for crop in each.crops])
            ends = np.cumsum([len(each.crops) for each in decoded.values()])
            vectors = np.split(made, ends[:-1])
            files = [each.file for each in decoded.values()]
            found = dict(zip(decoded, zip(vectors, files, strict=True), strict=True))
            await asyncio.to_thread(self.parts.cache.add, found)
        for product in group:
            self._report(product)
        self.parts.progress.rows(group[-1].row)

    async def _decoded(self, image: StoredImage) -> Outcome:
        parts = self.parts

        async def decode(content: bytes) -> DecodedImage:
            crops = await catalog_crops(content, parts.threads, parts.limits, parts.embedder, parts.views)
            file = await asyncio.to_thread(parts.originals.add, content) if parts.originals.kept else ""
            return DecodedImage(crops, file)

        try:
            return await parts.images.use(image, decode)
        except UnreadableImageError as error:
            return error
        except SightlineError:
            raise
        except Exception as error:  # libraries raise whatever their parsers meet; it must cost this image only
            return UnreadableImageError(f"the image cannot be read ({type(error).__name__})")

    def _report(self, product: ImagesOf) -> None:
        lost = [image for image in product.images if image.key in self._failed]
        whole = len(lost) == len(product.images)
        self.losses += Losses(1, int(whole), len(product.images), len(lost))
        if not lost:
            return
        text = "; ".join(f"{masked_link(image.link)}: {self._failed[image.key]}" for image in lost)
        problem = Problem(product.row, ProblemKind.UNREADABLE_IMAGE, text, product.id, skipped=whole)
        self.problems.append(problem)
        self.parts.progress.problem(problem)


def images_of(
    products: Iterator[ProductToEmbed], keys: dict[str, tuple[bytes, ...]], distinct: Distinct | None = None
) -> Iterator[ImagesOf]:
    """The products with the names of their images. One that was written meanwhile is left to the next run.

    `distinct` has the positions of the images to embed of each product; without it that is all of them.
    """
    for row, each in enumerate(products, 1):
        names = keys.get(each.product.id, ())
        if len(names) == len(each.images):
            images = tuple(map(StoredImage, each.images, names))
            if distinct is not None:
                images = tuple(images[place] for place in distinct[each.product.id])
            yield ImagesOf(row, each.product.id, images)


def distinct_images(
    products: Iterator[ProductToEmbed], keys: dict[str, tuple[bytes, ...]], file_of: Callable[[bytes], str]
) -> Distinct:
    """The positions of the images of products whose images may have two vectors, which have one link and one file.

    `file_of` names the kept file of a stored image; it is empty where none is kept, and the link alone counts then.
    """
    found: dict[str, Sequence[int]] = {}
    for each in products:
        names = keys.get(each.product.id, ())
        if len(names) != len(each.images):
            continue
        files: dict[str, set[str]] = {}
        places: list[int] = []
        for place, (link, name) in enumerate(zip(each.images, names, strict=True)):
            file, known = file_of(name), files.setdefault(link, set())
            if not known or (file and file not in known):
                places.append(place)
            known.add(file)
        found[each.product.id] = places
    return found
