"""Links of a feed -> encoded images: files below one folder, downloads, and the download cache.

Rule: every way in has a limit, and at most `parallel` encoded images are in memory at once, wherever they come from.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx

from sightline_server.ingest.clients import Clients, Requests
from sightline_server.ingest.direct_transport import CheckedNetwork
from sightline_server.ingest.downloads import Body, DownloadLimits, Downloads
from sightline_server.ingest.hosts import RetryLimits, Waiting
from sightline_server.ingest.image_cache import ImageCache
from sightline_server.ingest.image_files import ImageFolder
from sightline_server.ingest.links import FileLink, UnreadableImageError, WebLink, classify

__all__ = ["ImageLimits", "ImageSource", "UnreadableImageError"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """`max_bytes` of one image, `timeout_s` for one attempt of a download, `parallel` images in memory at once."""

    max_bytes: int = 20 * 1024 * 1024
    timeout_s: float = 30.0
    connect_timeout_s: float = 5.0
    max_redirects: int = 3
    parallel: int = 8
    retry: RetryLimits = field(default_factory=RetryLimits)


class ImageSource:
    """A context that reads the images that links name; relative ones lie below `root`, without which none is read.

    `notify` gets one line about a host that is waited for. `network` decides which hosts are requested; without it,
    public ones only. `transport` and `waiting` are for tests.
    """

    def __init__(
        self,
        root: Path | None,
        limits: ImageLimits,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        requests: Requests | None = None,
        network: CheckedNetwork | None = None,
        cache: ImageCache | None = None,
        waiting: Waiting | None = None,
        notify: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._limits = limits
        self._folder = ImageFolder(root) if root else None
        self._cache = cache
        self._places = asyncio.Semaphore(limits.parallel)
        self._clients = Clients(requests or Requests(), limits.timeout_s, limits.connect_timeout_s, transport, network)
        bounds = DownloadLimits(limits.max_bytes, limits.timeout_s, limits.max_redirects, limits.parallel, limits.retry)
        self._downloads = Downloads(self._clients, bounds, self._places, waiting or Waiting(), notify)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._clients.close()

    async def read(self, link: str) -> bytes:
        """The bytes of the image at `link`, at most `max_bytes`. Raises `UnreadableImageError`."""

        async def whole(image: bytes) -> bytes:
            return image

        return await self.use(classify(link), whole)

    async def use(self, link: WebLink | FileLink, work: Callable[[bytes], Awaitable[T]]) -> T:
        """The result of `work` on the image at `link`; the image counts as in memory until then.

        A download is kept in the cache when `work` succeeded, so that an error page is not. Raises
        `UnreadableImageError`, what `work` raises, and `SightlineError` of kind CONFIGURATION for a malformed proxy.
        """
        if isinstance(link, FileLink):
            if self._folder is None:
                raise UnreadableImageError("a downloaded feed cannot name files of this machine; see --images")
            async with self._places:
                image = await asyncio.to_thread(self._folder.read, link.path, self._limits.max_bytes)
                return await work(self._within_limit(image))
        if self._cache is None:
            return await self._downloads.fetch(link, lambda body: work(required(body).content))
        return await self._through_cache(link, work, self._cache)

    async def _through_cache(self, link: WebLink, work: Callable[[bytes], Awaitable[T]], cache: ImageCache) -> T:
        async with self._places:
            kept = await asyncio.to_thread(cache.get, link.url, self._limits.max_bytes)
            if kept is not None and kept.fresh:
                return await work(kept.body.content)
        # Not held while the server is asked: it would count twice against the images in memory.
        known = Body(b"", kept.body.etag, kept.body.last_modified) if kept is not None else None
        del kept

        async def keep(body: Body | None) -> T:
            if body is None:
                again = await asyncio.to_thread(cache.renew, link.url, self._limits.max_bytes)
                return await work(required(again).content)
            result = await work(body.content)
            await asyncio.to_thread(cache.put, link.url, body)
            return result

        return await self._downloads.fetch(link, keep, known)

    def _within_limit(self, image: bytes) -> bytes:
        if len(image) > self._limits.max_bytes:
            raise UnreadableImageError(f"larger than {self._limits.max_bytes} bytes")
        return image


def required(body: Body | None) -> Body:
    """`body`. Raises `UnreadableImageError` where it was removed meanwhile."""
    if body is None:
        raise UnreadableImageError("the image was removed from the cache during the build")
    return body
