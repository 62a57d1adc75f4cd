"""The download of a feed whose address a caller gave, under the rules of image hosts.

Rule: public addresses only, checked at each redirect, and one text for every failure before an HTTP status, so that a
caller cannot probe the network of the server.
"""

import asyncio
from typing import BinaryIO

import httpx

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.clients import Clients, Requests
from sightline_server.ingest.direct_transport import CheckedNetwork
from sightline_server.ingest.downloads import Hop
from sightline_server.ingest.feeds.options import FeedLimits
from sightline_server.ingest.links import UnreadableImageError, WebLink, classify

CONNECT_TIMEOUT_S = 10.0


async def guarded_download(url: str, target: BinaryIO, limits: FeedLimits, network: CheckedNetwork) -> None:
    """Writes the body at `url` to `target`, as it was sent.

    Raises `SightlineError` of kind INVALID_REQUEST, whose text has no part of the address.
    """
    clients = Clients(Requests(), limits.timeout_s, CONNECT_TIMEOUT_S, network=network)
    hop = Hop(web_address(url))
    try:
        async with asyncio.timeout(limits.download_s):
            await follow(clients, hop, target, limits)
    except TimeoutError as error:
        raise failed(f"it is not complete after {limits.download_s:g} s" if hop.answered else "no answer") from error
    except (UnreadableImageError, httpx.HTTPError) as error:
        answered = hop.answered and isinstance(error, httpx.HTTPError)
        raise failed("the connection ended before the whole feed had arrived" if answered else "no answer") from error
    finally:
        await clients.close()


def web_address(url: str) -> httpx.URL:
    """`url` as an address that may be asked. Raises `SightlineError` of kind INVALID_REQUEST."""
    try:
        link = classify(url)
        if isinstance(link, WebLink):
            return httpx.URL(link.url)
    except (UnreadableImageError, httpx.InvalidURL, ValueError):
        pass
    raise failed("expected an http:// or https:// address without a user name and password")


async def follow(clients: Clients, hop: Hop, target: BinaryIO, limits: FeedLimits) -> None:
    """The request and its redirects."""
    for _ in range(limits.max_redirects + 1):
        await clients.check(hop.url)
        client = clients.of(hop.url)
        headers = {"accept": "*/*", "accept-encoding": "gzip, identity"}
        async with client.stream("GET", hop.url, headers=headers) as response:
            hop.answered = True
            if not response.has_redirect_location:
                await write_body(response, target, limits)
                return
            assert response.next_request is not None
            hop.move(response.next_request.url)
    raise failed(f"more than {limits.max_redirects} redirects")


async def write_body(response: httpx.Response, target: BinaryIO, limits: FeedLimits) -> None:
    """Writes the body in a thread, so that a slow disk holds up no search."""
    if response.status_code != httpx.codes.OK:
        raise failed(f"the server answered {response.status_code}")
    written = 0
    async for part in response.aiter_raw():
        written += len(part)
        if written > limits.max_bytes:
            raise failed(f"it is larger than {limits.max_bytes} bytes")
        await asyncio.to_thread(target.write, part)


def failed(reason: str) -> SightlineError:
    """The error of a feed that was not downloaded."""
    return SightlineError(ErrorKind.INVALID_REQUEST, f"the feed cannot be downloaded: {reason}", field="uri")
