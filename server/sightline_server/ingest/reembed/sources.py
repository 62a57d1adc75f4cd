"""The images of stored products: kept originals first, then their links, as a build reads links.

Rule: at most `parallel` encoded images are in memory at once, wherever they come from. The reason for an image that
cannot be had names no part of its link.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from sightline_server.index.originals import KeptOriginals
from sightline_server.ingest.images import ImageSource
from sightline_server.ingest.links import FileLink, UnreadableImageError, WebLink, classify

T = TypeVar("T")
PARALLEL = 4
"""Originals that are in memory at once; those of links are counted by their `ImageSource`."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of a stored product: its `link`, and the name that `index.originals.image_key` gives it."""

    link: str
    key: bytes


class StoredImages:
    """Reads the images of stored products. `local` says that links that are paths may be read."""

    def __init__(self, originals: KeptOriginals, links: ImageSource, *, local: bool) -> None:
        self._originals = originals
        self._links = links
        self._local = local
        self._turns = asyncio.Semaphore(PARALLEL)

    async def use(self, image: StoredImage, work: Callable[[bytes], Awaitable[T]]) -> T:
        """The result of `work` on the file of `image`.

        An original that `work` cannot read is not the last word: the link is tried as well. Raises
        `UnreadableImageError`, and what `ImageSource.use` raises.
        """
        failure = ""
        if self._originals.kept:
            async with self._turns:
                content = await asyncio.to_thread(self._originals.content, image.key)
                if content is not None:
                    try:
                        return await work(content)
                    except UnreadableImageError as error:
                        failure = f"its original: {error}; its link: "
                del content
        try:
            return await self._links.use(self._target(image.link), work)
        except UnreadableImageError as error:
            raise UnreadableImageError(f"{failure}{error}") from error

    def _target(self, link: str) -> WebLink | FileLink:
        if not link:
            raise UnreadableImageError("the image has no link, and no original is kept")
        target = classify(link)
        if isinstance(target, FileLink) and not self._local:
            raise UnreadableImageError("the link is a path; name the folder that it starts from with --images")
        return target
