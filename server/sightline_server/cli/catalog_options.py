"""Options of `sightline catalog build` that need reading: percentages and HTTP headers.

Rule: what is malformed is one line that names the option, and never the value of a header, which may be a credential.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from sightline_server.errors import ErrorKind, SightlineError

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A token of RFC 9110, section 5.6.2."""
OWN_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "host", "proxy-authorization", "range", "te", "trailer"}
    | {"transfer-encoding", "upgrade", "if-none-match", "if-modified-since"}
)
"""Headers that the download itself sets or that change what an answer means."""


def fraction(option: str, text: str) -> float:
    """The share 0 to 1 of a percentage, such as `10` or `10%`. Raises `SightlineError` of kind CONFIGURATION."""
    try:
        percent = float(text.strip().removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise SightlineError(ErrorKind.CONFIGURATION, f"{option} {text!r} is not a percentage from 0 to 100")
    return percent / 100


def parse_headers(options: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The (name, value) of each `--header`. Raises `SightlineError` of kind CONFIGURATION."""
    return tuple(parse_header(line) for option in options for line in header_lines(option))


def header_lines(option: str) -> Iterator[str]:
    """The header of an option, or the lines of the file that `@FILE` names."""
    if not option.startswith("@"):
        yield option
        return
    try:
        text = Path(option[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        message = f"--header {option}: the file cannot be read ({type(error).__name__})"
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error
    yield from (line for line in text.splitlines() if line.strip())


def parse_header(line: str) -> tuple[str, str]:
    """The name and the value of one header. Raises `SightlineError` of kind CONFIGURATION."""
    name, colon, value = line.partition(":")
    name = name.strip()
    if not colon or not HEADER_NAME.fullmatch(name):
        raise SightlineError(ErrorKind.CONFIGURATION, "a --header is not of the form 'Name: value'")
    if name.lower() in OWN_HEADERS:
        raise SightlineError(ErrorKind.CONFIGURATION, f"--header {name}: this header cannot be set")
    return name, header_value(f"--header {name}", value.strip())


def header_value(option: str, value: str) -> str:
    """`value`. Raises `SightlineError` of kind CONFIGURATION when it is not valid in a header."""
    if not value or not value.isascii() or not value.isprintable():
        raise SightlineError(ErrorKind.CONFIGURATION, f"{option}: the value must be printable ASCII and not empty")
    return value
