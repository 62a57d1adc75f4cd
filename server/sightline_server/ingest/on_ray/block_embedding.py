"""The links of a block -> its part: images are fetched, decoded and embedded as by a local build.

Rule: whatever is wrong with an image is the error of this image. A group is embedded while the images of the next one
are fetched.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.building.options import BuildOptions
from sightline_server.ingest.building.sources import image_source
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.images import ImageSource
from sightline_server.ingest.links import FileLink, UnreadableImageError, classify
from sightline_server.ingest.on_ray.parts import EmbeddedImage, Part
from sightline_server.ingest.on_ray.plan import Block, LinkToEmbed
from sightline_server.ingest.preparation import Preparation
from sightline_server.ingest.prepared import Crop, PreparedImage
from sightline_server.ingest.same_images import SameImages, content_key
from sightline_server.ingest.seen_images import SeenImages
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.processes.pool import DecodeProcesses

Outcome = PreparedImage | UnreadableImageError


async def content_name(image: bytes) -> str:
    """`Keep` that keeps the name of an image's content only."""
    return content_key(image).hex()


@dataclass(frozen=True, slots=True)
class BlockEmbedder:
    """Embeds blocks by `embed`, which is of the embedder `spec`; relative links lie below `root`."""

    options: BuildOptions
    root: Path | None
    source: ImageSource
    threads: PhotoThreads
    spec: EmbedderSpec
    embed: Embed

    async def part(self, block: Block) -> Part:
        """The images of `block`, each with its embedding or its error.

        Raises `SightlineError`: CONFIGURATION without the folder of relative links, and the kinds of the engine.
        """
        await asyncio.to_thread(self._require_folder, block)
        # Only reasons why images failed are kept there, so that nothing is written.
        with SeenImages(Path(tempfile.gettempdir()), self.spec.dimension) as seen:
            options = self.options
            preparation = Preparation(
                *(self.source, options.decode, self.spec, self.threads, seen, SameImages(), content_name),
                views=options.image_views,
            )
            try:
                return Part(self.spec, tuple(await self._images(block, preparation)))
            finally:
                for task in preparation.running.values():
                    task.cancel()
                await asyncio.gather(*preparation.running.values(), return_exceptions=True)

    async def _images(self, block: Block, preparation: Preparation) -> list[EmbeddedImage]:
        found: list[EmbeddedImage] = []
        following: asyncio.Task[list[Outcome]] | None = None
        try:
            for number, group in enumerate(block.groups):
                outcomes = await (following or fetched(group, preparation))
                following = None
                if number + 1 < len(block.groups):
                    following = asyncio.create_task(fetched(block.groups[number + 1], preparation))
                found += await self._embedded(group, outcomes)
                for outcome in outcomes:
                    if isinstance(outcome, PreparedImage):
                        preparation.embedded(outcome.key)
            return found
        finally:
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def _embedded(self, group: Sequence[LinkToEmbed], outcomes: Sequence[Outcome]) -> list[EmbeddedImage]:
        """The images of a group, which go to the engine together."""
        views = [outcome.crops for outcome in outcomes if isinstance(outcome, PreparedImage)]
        crops: list[Crop] = [crop for each in views for crop in each]
        made = (await self.embed(crops)).astype(np.float16) if crops else np.empty((0, self.spec.dimension), np.float16)
        vectors = iter(np.split(made, np.cumsum([len(each) for each in views])[:-1]))
        return [
            EmbeddedImage(link.key, next(vectors), bytes.fromhex(outcome.original))
            if isinstance(outcome, PreparedImage)
            else EmbeddedImage(link.key, error=str(outcome))
            for link, outcome in zip(group, outcomes, strict=True)
        ]

    def _require_folder(self, block: Block) -> None:
        """Raises `SightlineError` where relative links have no folder: every image would be lost for that reason."""
        if self.root is None or self.root.is_dir():
            return
        if any(isinstance(classify(each.link), FileLink) for group in block.groups for each in group):
            message = f"there is no folder {self.root}, from which relative image links start; all nodes need it"
            raise SightlineError(ErrorKind.CONFIGURATION, message)


async def fetched(group: Sequence[LinkToEmbed], preparation: Preparation) -> list[Outcome]:
    """The decoded images of a group, or why there is none."""
    return list(await asyncio.gather(*(preparation.image(each.link) for each in group)))


@asynccontextmanager
async def block_embedder(
    options: BuildOptions, root: Path | None, spec: EmbedderSpec, embed: Embed
) -> AsyncIterator[BlockEmbedder]:
    """A `BlockEmbedder` with its connections, threads and processes, for the length of the block."""
    processes = DecodeProcesses(options.decode_processes)
    with ThreadPoolExecutor(options.decode_threads, thread_name_prefix="ingest-decode") as executor:
        try:
            async with image_source(options, root, lambda text: None) as source:
                threads = PhotoThreads(executor, processes)
                yield BlockEmbedder(options, root, source, threads, spec, embed)
        finally:
            await processes.close()
