"""Image links of a feed: files and web addresses in the spellings that browsers take.

Rule: pure text, no I/O. `link_secrets` says what of a link may be printed and published.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from sightline_server.ingest.link_secrets import HEAD, LINE_BREAKS, user_info

DEFAULT_PORTS = {"http": 80, "https": 443}

SCHEME = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]{0,20})://|(https?|file|data|blob|mailto|javascript|ftp|s3|gs):)", re.I)
WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")
HOST_NAME = re.compile(r"[^\s/\\?#@<>\"^`{|}%\x00-\x20\x7f]+")


class UnreadableImageError(Exception):
    """An image that cannot be read. Its text goes to the build's report and holds no part of the link."""


@dataclass(frozen=True, slots=True)
class WebLink:
    """An absolute http(s) `url` without user info and fragment; `host` is `name:port`, the port always given."""

    url: str
    host: str


@dataclass(frozen=True, slots=True)
class FileLink:
    """A `path` below the folder of the images, as the feed has it."""

    path: str


def classify(link: str) -> WebLink | FileLink:
    """The target of `link`. Raises `UnreadableImageError` for one that is not read.

    Tabs and line ends inside a link are dropped and backslashes of a web link become slashes, as browsers do
    (WHATWG URL, section 4.4). A link without a scheme (`//cdn.example/a.jpg`) is taken as https.
    """
    text = LINE_BREAKS.sub("", link.strip())
    if WINDOWS_PATH.match(text):
        raise UnreadableImageError("absolute Windows paths are not read; write a path below the images folder")
    if text.startswith("//"):
        return web_link("https", text)
    match = SCHEME.match(text)
    if match is None:
        return FileLink(text)
    scheme = (match[1] or match[2]).lower()
    if scheme not in DEFAULT_PORTS:
        raise UnreadableImageError(f"links of kind {scheme}: are not read; expected http, https or a path")
    return web_link(scheme, text)


def web_link(scheme: str, text: str) -> WebLink:
    """The link `text`, read as `scheme`. Raises `UnreadableImageError` when it is malformed or holds user info."""
    start, end = user_info(text)
    if start < end:
        raise UnreadableImageError(
            "links with a user name or password are not read; remove it from the link and pass it with --header"
        )
    head = HEAD.match(text)
    if head is None:
        raise UnreadableImageError(f"the link is not a valid address; expected {scheme}://HOST/PATH")
    place, mark, query = text[head.end() :].partition("#")[0].partition("?")
    authority, slash, path = place.replace("\\", "/").partition("/")
    name, port = host_and_port(scheme, authority)
    return WebLink(f"{scheme}://{authority.lower()}{slash}{path}{mark}{query}", f"{name}:{port}")


def host_and_port(scheme: str, authority: str) -> tuple[str, int]:
    """The host and the port of a link. Raises `UnreadableImageError` when they are malformed."""
    try:
        parts = urlsplit(f"{scheme}://{authority}/")
        name, port = parts.hostname or "", parts.port or DEFAULT_PORTS[scheme]
    except ValueError as error:
        raise UnreadableImageError("the link is not a valid address; check its host and port") from error
    if not name:
        raise UnreadableImageError("the link names no host")
    if not HOST_NAME.fullmatch(name):
        raise UnreadableImageError("the link is not a valid address; check its host and port")
    return name, port
