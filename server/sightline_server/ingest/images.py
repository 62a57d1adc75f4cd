"""Links of a feed -> encoded pictures: files below one folder, or http(s).

Rule: every way in has a limit: bytes, seconds, redirects. A relative link never leaves the
folder, because a slip in a feed must not publish a file that is not the shop's.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

ATTEMPTS = 2


class UnreadableImageError(Exception):
    """A picture that cannot be had; its text is for the build's report."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """`max_bytes` of one picture, `timeout_s` for all of one download, `parallel` pictures in memory at once."""

    max_bytes: int = 20 * 1024 * 1024
    timeout_s: float = 30.0
    connect_timeout_s: float = 5.0
    max_redirects: int = 3
    parallel: int = 8


class ImageSource:
    """A context that reads the pictures that links name; relative ones lie below `root`."""

    def __init__(self, root: Path, limits: ImageLimits, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._root = root.resolve()
        self._limits = limits
        self._client = httpx.AsyncClient(
            follow_redirects=True,
            max_redirects=limits.max_redirects,
            timeout=httpx.Timeout(limits.timeout_s, connect=limits.connect_timeout_s),
            transport=transport,
            headers={"accept": "image/*", "user-agent": "sightline-catalog"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def read(self, link: str) -> bytes:
        """The bytes of the picture at `link`, at most `max_bytes`. Raises `UnreadableImageError`."""
        scheme = link.partition("://")[0].lower() if "://" in link else ""
        if not scheme:
            return await asyncio.to_thread(self._read_file, link)
        if scheme not in ("http", "https"):
            raise UnreadableImageError(f"links of kind {scheme}:// are not read")
        return await self._download(link)

    def _read_file(self, link: str) -> bytes:
        try:
            path = (self._root / link).resolve()
            if not path.is_relative_to(self._root):
                raise UnreadableImageError("the path leaves the folder of the images")
            if not path.is_file():
                raise UnreadableImageError("there is no such file")
            with path.open("rb") as file:
                return self._within_limit(file.read(self._limits.max_bytes + 1))
        except (OSError, ValueError, RuntimeError) as error:
            raise UnreadableImageError(f"the file cannot be read ({type(error).__name__})") from error

    async def _download(self, link: str) -> bytes:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    return await self._attempt(link)
            except TimeoutError as error:
                raise UnreadableImageError(f"no whole answer within {self._limits.timeout_s:g} s") from error
            except httpx.TooManyRedirects as error:
                raise UnreadableImageError(f"more than {self._limits.max_redirects} redirects") from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if attempt == ATTEMPTS or not passing(error):
                    raise UnreadableImageError(failure_text(error)) from error
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, link: str) -> bytes:
        body = bytearray()
        async with self._client.stream("GET", link) as response:
            response.raise_for_status()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > self._limits.max_bytes:
                    break
        return self._within_limit(bytes(body))

    def _within_limit(self, body: bytes) -> bytes:
        if len(body) > self._limits.max_bytes:
            raise UnreadableImageError(f"larger than {self._limits.max_bytes} bytes")
        return body


def passing(error: Exception) -> bool:
    """Whether trying again makes sense: the connection broke, or the other side had a fault of its own."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code >= 500
    return isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol)


def failure_text(error: Exception) -> str:
    """What to report of a failed download."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"the server answered {error.response.status_code}"
    return f"the download failed ({type(error).__name__})"
