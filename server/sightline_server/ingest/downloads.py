"""http(s) links -> encoded images.

Rule: everything has a limit: bytes (also after decompression), seconds, redirects, attempts, pauses. A slot in memory
is held only while an image is downloaded or in use, never while a host is waited for. Error texts cannot be used to
probe a network: all failures before an HTTP status have the same text.
"""

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import httpx

from sightline_server.ingest.clients import Clients, proxy_of
from sightline_server.ingest.host_check import UnreachableImageError
from sightline_server.ingest.hosts import Host, RetryLimits, Waiting
from sightline_server.ingest.links import DEFAULT_PORTS, UnreadableImageError, WebLink
from sightline_server.ingest.retry_after import retry_after_s

T = TypeVar("T")

TRANSIENT = frozenset({408, 425, *range(500, 600)})
NOT_MODIFIED = 304


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """`max_bytes` of one image, `timeout_s` for all of one attempt, `parallel` downloads of one host at once."""

    max_bytes: int
    timeout_s: float
    max_redirects: int
    parallel: int
    retry: RetryLimits = field(default_factory=RetryLimits)


@dataclass(frozen=True, slots=True)
class Body:
    """An image as a server sent it, with what lets it be asked for again: `etag` and `last_modified`, or empty."""

    content: bytes
    etag: str = ""
    last_modified: str = ""


class TryAgainError(Exception):
    """A failure of the server that may be temporary.

    `wait_s` is what the server asked for: None for a fault, which asks for nothing. One that is `final` counts as a
    failure of its host but is not tried again.
    """

    def __init__(self, text: str, wait_s: float | None = None, *, final: bool = False) -> None:
        super().__init__(text)
        self.wait_s = wait_s
        self.final = final


@dataclass(slots=True)
class Hop:
    """The request of an attempt that runs: its `url`, and whether that server has `answered` with a status."""

    url: httpx.URL
    answered: bool = False

    def move(self, url: httpx.URL) -> None:
        """Goes to the target of a redirect. Raises `UnreadableImageError` for one that is not followed."""
        if url.scheme not in DEFAULT_PORTS:
            raise UnreadableImageError("the server redirects to an address that is not http or https")
        if url.userinfo:
            raise UnreadableImageError("the server redirects to a link with a user name or password")
        self.url = url
        self.answered = False


class Downloads:
    """Downloads images. `places` bounds how many are in memory; `notify` receives every pause of a host."""

    def __init__(
        self,
        clients: Clients,
        limits: DownloadLimits,
        places: asyncio.Semaphore,
        waiting: Waiting,
        notify: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._clients = clients
        self._limits = limits
        self._places = places
        self._notify = notify
        self._hosts: defaultdict[str, Host] = defaultdict(lambda: Host(limits.parallel, limits.retry, waiting))

    async def fetch(self, link: WebLink, use: Callable[[Body | None], Awaitable[T]], known: Body | None = None) -> T:
        """Downloads the image at `link` and returns the result of `use`, which runs while the slot in memory is held.

        With `known`, an earlier answer, the server is asked whether it still holds; if so, `use` gets None.
        Raises `UnreadableImageError`.
        """
        host = self._hosts[link.host]
        host.users += 1
        try:
            return await self._fetch(link, host, use, known)
        finally:
            host.users -= 1
            if host.forgettable:
                self._hosts.pop(link.host, None)

    async def _fetch(
        self, link: WebLink, host: Host, use: Callable[[Body | None], Awaitable[T]], known: Body | None
    ) -> T:
        faults = refusals = 0
        while True:
            try:
                async with host.turn(), self._places:
                    if host.pause_s:
                        continue  # it asked for a pause while this download waited for its slot
                    if not faults + refusals and host.skips():
                        raise UnreadableImageError("not downloaded, because the server failed for many images in a row")
                    body = await self._attempt(link, known)
                    host.succeeded()
                    return await use(body)
            except TryAgainError as error:
                faults, refusals = (faults + 1, refusals) if error.wait_s is None else (faults, refusals + 1)
                # The turn and the slot are free by now: other downloads go on meanwhile.
                if not await self._again(link, host, error, faults, refusals):
                    host.failed()
                    raise UnreadableImageError(str(error)) from error

    async def _again(self, link: WebLink, host: Host, error: TryAgainError, faults: int, refusals: int) -> bool:
        """Waits before another attempt, or returns False when there is none."""
        retry = self._limits.retry
        if error.wait_s is None:
            if error.final or host.hopeless or faults >= retry.faults:
                return False
            await host.sleep(host.backoff_s(faults))
            return True
        if refusals >= retry.refusals:
            return False
        running = host.pause_s > 0
        paused = host.pause(max(error.wait_s, host.backoff_s(refusals) if not error.wait_s else 0.0))
        if paused and not running and host.notice_due():
            self._notify(f"{link.host}: {error}; waiting {host.pause_s:.0f} s")
        return paused

    async def _attempt(self, link: WebLink, known: Body | None) -> Body | None:
        """The answer of one attempt.

        Whether a host refuses a connection, is silent, speaks another protocol or is one that is not asked, the text is
        the same: it would show the author of a feed what listens in the network of the user who builds from it.
        """
        hop = Hop(httpx.URL())
        try:
            hop.url = httpx.URL(link.url)
            async with asyncio.timeout(self._limits.timeout_s):
                return await self._follow(hop, known)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise UnreadableImageError(f"the link is not a valid address ({type(error).__name__})") from error
        except UnreachableImageError as error:
            raise UnreachableImageError(f"{error}{through_proxy(link)}") from error
        except (TimeoutError, httpx.HTTPError) as error:
            late = isinstance(error, TimeoutError)
            if not hop.answered:
                silent = self._clients.hosts.no_answer(hop.url.raw_host.decode(), type(error).__name__)
                text = f"{silent}{through_proxy(link)}"
            elif late:
                text = f"the image did not arrive completely within {self._limits.timeout_s:g} s"
            else:
                text = "the connection ended before the whole image had arrived"
            raise TryAgainError(text, final=late) from error

    async def _follow(self, hop: "Hop", known: Body | None) -> Body | None:
        """One attempt: the request and its redirects. The host of the link stands for those that it redirects to."""
        start = hop.url
        for _ in range(self._limits.max_redirects + 1):
            await self._clients.check(hop.url)
            client = self._clients.of(hop.url)
            headers = self._clients.headers(start, hop.url) | conditions(known)
            async with client.stream("GET", hop.url, headers=headers) as response:
                hop.answered = True
                if not response.has_redirect_location:
                    return await self._answer(response, known)
                assert response.next_request is not None
                hop.move(response.next_request.url)
        raise UnreadableImageError(f"more than {self._limits.max_redirects} redirects")

    async def _answer(self, response: httpx.Response, known: Body | None) -> Body | None:
        status = response.status_code
        if status == NOT_MODIFIED and known is not None:
            return None
        if status != httpx.codes.OK:
            raise refusal(response)
        content = await body_of(response, self._limits.max_bytes)
        return Body(content, response.headers.get("etag", ""), response.headers.get("last-modified", ""))


def through_proxy(link: WebLink) -> str:
    """Names the proxy through which `link` is requested, if any."""
    proxy, _ = proxy_of(httpx.URL(link.url))
    return f" (requested through the proxy of {proxy})" if proxy else ""


def conditions(known: Body | None) -> dict[str, str]:
    """The headers that ask whether `known` still holds (RFC 9110, section 13.1)."""
    headers = {}
    if known and known.etag:
        headers["if-none-match"] = known.etag
    if known and known.last_modified:
        headers["if-modified-since"] = known.last_modified
    return headers


def refusal(response: httpx.Response) -> Exception:
    """The error for an answer without an image: one to try again, or a final one."""
    status, text = response.status_code, f"the server answered {response.status_code}"
    wait_s = retry_after_s(response.headers, datetime.now(UTC))
    if status == httpx.codes.TOO_MANY_REQUESTS or (status == httpx.codes.SERVICE_UNAVAILABLE and wait_s is not None):
        return TryAgainError(f"{text} (Retry-After: {wait_s:.0f} s)" if wait_s else text, wait_s or 0.0)
    return TryAgainError(text) if status in TRANSIENT else UnreadableImageError(text)


async def body_of(response: httpx.Response, max_bytes: int) -> bytes:
    """The whole body, at most `max_bytes`, as sent and as unpacked. Raises `UnreadableImageError`.

    Images are asked for without a content coding. A server that sends gzip or deflate all the same is read in bounded
    steps; several codings on top of each other, which unpack to gigabytes, are refused.
    """
    unpack = Unpacker(response.headers.get("content-encoding", ""), max_bytes)
    body, received = bytearray(), 0
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for part in response.stream:
        received += len(part)
        body += unpack(part, max_bytes + 1 - len(body))
        if max(received, len(body)) > max_bytes:
            raise UnreadableImageError(f"larger than {max_bytes} bytes")
    unpack.end()
    return bytes(body)


class Unpacker:
    """Undoes the content coding of a body part by part."""

    def __init__(self, coding: str, max_bytes: int) -> None:
        coding = coding.strip().lower()
        if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise UnreadableImageError(
                "the server sends the image in a content coding that is not supported; expected gzip or deflate"
            )
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32) if coding not in ("", "identity") else None

    def __call__(self, part: bytes, room: int) -> bytes:
        """The next bytes, at most `room`, which is at least 1. Raises `UnreadableImageError`."""
        if self._zlib is None:
            return part
        try:
            return self._zlib.decompress(part, room)
        except zlib.error as error:
            raise UnreadableImageError("the compressed answer is corrupt") from error

    def end(self) -> None:
        """Raises `UnreadableImageError` when the compressed body stops half-way."""
        if self._zlib is not None and not self._zlib.eof:
            raise UnreadableImageError("the compressed answer is incomplete")
