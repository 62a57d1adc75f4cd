"""Secrets in links: user names, passwords, tokens and signatures.

Rule: pure text, no I/O. A link that is printed or logged goes through `masked_link`. A text that is stored for callers
goes through `without_user_info`, and one that is a link as a whole through `publishable_link`. What may be a password
is treated as one: people write passwords with `@`, `/`, `?` and `#` in them, which no parser of links expects.
"""

import re

SHOWN_CHARACTERS = 200
MASKED_CHARACTERS = 2000
"""The part of a link that is inspected. Masking makes it shorter."""

LINE_BREAKS = re.compile(r"[\t\r\n]")
HEAD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\\/]+|[\\/]{2,}")
"""The beginning of a link up to its authority, in every spelling that a browser accepts."""
AUTHORITY = re.compile(r"[^/\\?#]*")
LINK_STARTS = re.compile(r"([\s\"'<>]+|(?=(?:https?|ftp):[\\/])|(?<![\w:/\\.-])(?=//))", re.I)
"""The positions at which a link may begin in a text: after blanks and quotes, and at a scheme or `//`."""
USER_INFO = re.compile(r"(?<=//)[^/?#\\\s\"'<>]*@")
HOST_AND_PATH = re.compile(r"[\w.-]+(?::[0-9]+)?[/\\]")
PATH_PARAMETER = re.compile(r"((?:;|%3B)[^;/=]*?(?:=|%3D))[^;/]*", re.I)
"""A parameter of a path's segment, such as `;token=...` and `;jsessionid=...`."""
NAMED_SECRET = re.compile(
    r"((?:token|auth|signature|sig|hmac|key|secret|password|passwd|pwd|session|hdnts|hdnea|policy|credential)(?:=|%3D))[^/;&,]*",
    re.I,
)
"""A secret that a CDN puts into the path, such as `/hdnts=exp=1~hmac=2/a.jpg`."""


def user_info(text: str) -> tuple[int, int]:
    """The start and end of all that may be user info of a link, its `@` included; two equal numbers without any.

    Where there is user info, it may reach to the last `@` of the text: an `@` of the password looks like one of the
    path.
    """
    start, authority = authority_of(text)
    if "@" not in text[start:]:
        return start, start
    last = text.rindex("@") + 1
    name, colon, port = authority.rpartition(":")
    if "@" in authority:
        return (start, last) if start or colon else (start, start)
    if not colon or authority.startswith("["):
        return start, start
    if not is_port(port) or (is_bare_name(name) and HOST_AND_PATH.match(text, last)):
        return start, last
    return start, start


def authority_of(text: str) -> tuple[int, str]:
    """The start of a link's authority, and the authority as a parser reads it: up to the first `/`, `?` or `#`."""
    head = HEAD.match(text)
    start = head.end() if head else 0
    match = AUTHORITY.match(text, start)
    return start, match[0] if match else ""


def is_port(text: str) -> bool:
    """Returns whether `text` can follow the colon of a host."""
    return not text or (text.isascii() and text.isdigit() and int(text[:6]) < 65536)


def is_bare_name(name: str) -> bool:
    """Returns whether `name` is more likely a user than a host: it has no dot."""
    return "." not in name and name.lower() != "localhost"


def masked_link(link: str) -> str:
    """`link` as it may be printed: its secrets masked, control characters escaped, at most `SHOWN_CHARACTERS` long.

    Masked are user info, a port that is not a number, parameters and named secrets of the path, and every value of the
    query.
    """
    text = LINE_BREAKS.sub("", link.strip())
    start, end = user_info(text)
    if start < end:
        text = f"{text[:start]}***@{text[end:]}"
    place, mark, query = text.partition("#")[0].partition("?")
    # Cut before the patterns, one of which takes quadratic time, and after what may reach to the end of the text.
    place = USER_INFO.sub("***@", with_masked_port(place))[:MASKED_CHARACTERS]
    query = query[:MASKED_CHARACTERS]
    place = NAMED_SECRET.sub(r"\1***", PATH_PARAMETER.sub(r"\1***", place))
    fields = "&".join(masked_field(field) for field in query.split("&"))
    masked = printable(place + mark + fields)
    return masked if len(masked) <= SHOWN_CHARACTERS else masked[:SHOWN_CHARACTERS] + "..."


def with_masked_port(text: str) -> str:
    """`text` with a port that is not a number masked: it is what a parser takes the beginning of a password for."""
    start, authority = authority_of(text)
    name, colon, port = authority.rpartition(":")
    if not start or not colon or authority.startswith("[") or is_port(port):
        return text
    return f"{text[: start + len(name)]}:***{text[start + len(authority) :]}"


def masked_field(field: str) -> str:
    """One `name=value` of a query with its value masked; a field without a name is masked whole."""
    name, equals, _ = field.partition("=")
    return f"{name}=***" if equals else "***" if field else ""


def publishable_link(link: str) -> str:
    """A link as callers may get it: without user info, or empty where that cannot be separated from the rest."""
    return without_user_info(bare(link))


def without_user_info(text: str) -> str:
    """`text` with the user info of every link in it removed, in each spelling that `user_info` knows.

    A link is removed as a whole where its user info cannot be separated from the rest.
    """
    return "".join(map(bare, LINK_STARTS.split(text))) if "@" in text else text


def bare(part: str) -> str:
    """A part of a text between two matches of `LINK_STARTS`, without the user info of a link that it begins with."""
    if not HEAD.match(part):
        return part
    start, end = user_info(part)
    if start == end:
        return part
    authority = authority_of(part)[1]
    behind = part[start + len(authority) :].count("@")
    certain = not behind or (behind == 1 and "@" not in authority)
    return part[:start] + part[end:] if certain else ""


def printable(text: str) -> str:
    """`text` with control characters and lone surrogates escaped, so that a terminal only shows it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
