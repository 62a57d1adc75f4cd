"""Image links of a feed: what each one is, which one is meant, and how it may be shown.

Rule: pure text, no I/O. A link that is printed or logged goes through `shown`, and what is stored for callers goes
through `without_user_info`, so that no password and no signature leaves the feed.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

SHOWN_CHARACTERS = 200
DEFAULT_PORTS = {"http": 80, "https": 443}

LINE_BREAKS = re.compile(r"[\t\r\n]")
HEAD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\\/]+|[\\/]{2,}")
"""What stands before the authority of a link, in every spelling that a browser takes."""
SCHEME = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]{0,20})://|(https?|file|data|blob|mailto|javascript|ftp|s3|gs):)", re.I)
LINK_STARTS = re.compile(r"([\s\"'<>]+|(?=(?:https?|ftp):[\\/])|(?<![\w:/\\.-])(?=//))", re.I)
"""Where a link may begin within a text: behind blanks and quotes, and wherever a scheme or `//` says so."""
WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")
HOST_NAME = re.compile(r"[^\s/\\?#@<>\"^`{|}%\x00-\x20\x7f]+")
USER_INFO = re.compile(r"(?<=//)[^/?#\\\s\"'<>]*@")


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
    """What `link` names. Raises `UnreadableImageError` for one that is not read.

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


def user_info(text: str) -> tuple[int, int]:
    """Where the user info of a link starts and ends, its `@` included; two equal numbers where there is none.

    A password may hold an unescaped `/`, `?` or `#`. It is told by a port that is not a number.
    """
    head = HEAD.match(text)
    start = head.end() if head else 0
    length = re.match(r"[^/\\?#]*", text[start:])
    authority = length[0] if length else ""
    at = authority.rfind("@")
    if at >= 0 and (head or ":" in authority[:at]):
        return start, start + at + 1
    _, _, port = authority.rpartition(":")
    if ":" in authority and port and not port.isdigit() and not authority.startswith("["):
        return start, max(start, text.rfind("@") + 1)
    return start, start


def shown(link: str) -> str:
    """`link` as it may be printed: user info and the values of its query masked, control characters escaped, cut."""
    text = LINE_BREAKS.sub("", link.strip())
    start, end = user_info(text)
    if start < end:
        text = f"{text[:start]}***@{text[end:]}"
    place, mark, query = text.partition("#")[0].partition("?")
    fields = "&".join(masked_field(field) for field in query.split("&"))
    masked = printable(USER_INFO.sub("***@", place) + mark + fields)
    return masked if len(masked) <= SHOWN_CHARACTERS else masked[:SHOWN_CHARACTERS] + "..."


def masked_field(field: str) -> str:
    """One `name=value` of a query with its value masked; a field without a name is masked whole."""
    name, equals, _ = field.partition("=")
    return f"{name}=***" if equals else "***" if field else ""


def without_user_info(text: str) -> str:
    """`text` with the user info of every link in it removed, in each spelling that `user_info` knows."""
    return "".join(map(bare, LINK_STARTS.split(text))) if "@" in text else text


def bare(part: str) -> str:
    """A part of a text between two places of `LINK_STARTS`, without the user info of a link that it begins with."""
    if not HEAD.match(part):
        return part
    start, end = user_info(part)
    return part[:start] + part[end:]


def printable(text: str) -> str:
    """`text` with control characters and lone surrogates escaped, so that a terminal only shows it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
