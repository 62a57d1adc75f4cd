"""The download of a feed from a web address.

Rule: bounded in bytes, time and redirects. Compression is undone by our own bounded unpacking, not by the HTTP library.
Passwords and signatures of an address never reach a message.
"""

import time
from datetime import UTC, datetime
from typing import BinaryIO
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.clients import checked_proxy, proxy_of, same_origin
from sightline_server.ingest.feeds.options import FeedLimits, FeedOptions
from sightline_server.ingest.feeds.records import excerpt, refused
from sightline_server.ingest.link_secrets import authority_of, user_info
from sightline_server.ingest.retry_after import retry_after_s

ATTEMPTS = 3
DEFAULT_WAIT_S, MAX_WAIT_S = 1.0, 30.0
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


def is_url(feed: str) -> bool:
    """Returns whether `feed` is a web address."""
    return feed.lower().startswith(("http://", "https://"))


def url_name(url: str) -> str:
    """The address without user, password, query and fragment, for messages.

    Raises `ValueError` for a malformed address, also for one whose user info does not end where a parser ends it.
    """
    start, end = user_info(url)
    if end > start + len(authority_of(url)[1]):
        raise ValueError("the user info is not encoded")
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return excerpt(f"{parts.scheme}://{host}{port}{unquote(parts.path)}", 200)


def base_address(feed: str) -> str:
    """The address that relative links of the feed at `feed` are relative to, without user and password.

    Empty where `feed` is not a web address, or is a malformed one, which the download refuses.
    """
    try:
        parts = urlsplit(feed)
    except ValueError:
        return ""
    if not is_url(feed):
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def download(url: str, target: BinaryIO, options: FeedOptions) -> None:
    """Writes the body at `url` to `target`, as it was sent. Raises `SightlineError`."""
    try:
        name = url_name(url)
    except ValueError:
        text = "the address of the feed is malformed; in a user name or a password, write @ as %40 and / as %2F"
        raise refused(text) from None
    headers = [("accept-encoding", "gzip, identity"), ("user-agent", options.user_agent), *options.headers]
    try:
        with client_for(httpx.URL(url), options) as client:
            for attempt in range(1, ATTEMPTS + 1):
                wait_s = fetch(client, url, headers, target, options.limits, last=attempt == ATTEMPTS)
                if wait_s is None:
                    return
                time.sleep(wait_s)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError, ImportError) as error:
        raise refused(f"the feed {name} cannot be downloaded ({type(error).__name__})") from error
    except httpx.TooManyRedirects as error:
        raise failed(name, f"more than {options.limits.max_redirects} redirects") from error
    except httpx.HTTPError as error:
        raise failed(name, type(error).__name__) from error


def client_for(start: httpx.URL, options: FeedOptions) -> httpx.Client:
    """A client that honours the proxy of the environment, and sends the operator's headers to this origin only."""
    variable, address = proxy_of(start)
    proxy = checked_proxy(variable, address) if address else None

    def drop_headers(request: httpx.Request) -> None:
        if not same_origin(start, request.url):
            for name, _ in options.headers:
                request.headers.pop(name, None)

    return httpx.Client(
        follow_redirects=True,
        max_redirects=options.limits.max_redirects,
        timeout=httpx.Timeout(options.limits.timeout_s, connect=10.0),
        proxy=proxy,
        # Our transport keeps the client from reading the proxy variables itself.
        transport=httpx.HTTPTransport() if proxy is None else None,
        event_hooks={"request": [drop_headers]},
    )


def fetch(
    client: httpx.Client, url: str, headers: list[tuple[str, str]], target: BinaryIO, limits: FeedLimits, last: bool
) -> float | None:
    """One attempt: None when the body is there, else the seconds to wait before the next one."""
    name, ends = url_name(url), time.monotonic() + limits.download_s
    target.seek(0)
    target.truncate()
    try:
        with client.stream("GET", url, headers=headers) as response:
            if response.status_code in PASSING and not last:
                asked_s = retry_after_s(response.headers, datetime.now(UTC))
                return DEFAULT_WAIT_S if asked_s is None else min(MAX_WAIT_S, asked_s)
            if response.status_code != httpx.codes.OK:
                raise failed(name, f"the server answered {response.status_code}")
            written = 0
            for part in response.iter_raw():
                written += len(part)
                if written > limits.max_bytes:
                    raise refused(f"the feed {name} is larger than {limits.max_bytes} bytes")
                if time.monotonic() > ends:
                    raise failed(name, f"it is not complete after {limits.download_s:g} s")
                target.write(part)
    except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
        if last:
            raise
        return DEFAULT_WAIT_S
    return None


def failed(name: str, reason: str) -> SightlineError:
    """The error of a download that may work another time."""
    return SightlineError(ErrorKind.INVALID_REQUEST, f"the feed {name} cannot be downloaded: {reason}")
