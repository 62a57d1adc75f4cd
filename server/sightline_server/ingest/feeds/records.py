"""The record: one product of a feed as its file has it, before anything is interpreted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.link_secrets import HEAD, masked_link, without_user_info

MAX_RECORD_CHARS = 1024 * 1024
"""The longest record that is read; a longer one is a fault of its row and is not kept in memory."""

MAX_NAME_CHARS = 60
MAX_NAMES = 20
MAX_MASKED_CHARS = 4096

BAD_CHARACTER = "\ufdd0"
"""Stands for bytes or characters that the feed's encoding does not allow. Unicode reserves it for internal use."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a feed: `values` by column name, or, where it cannot be read at all, the reason in `fault`.

    `row` counts as the shop's own tools do, `line` is the line of the file where the row begins (0 if the format has
    no lines). `warnings` are remarks about a row that is still used.
    """

    row: int
    values: Mapping[str, object]
    fault: str = ""
    line: int = 0
    warnings: tuple[str, ...] = ()
    notice: bool = False
    """True if this is a remark about the feed as a whole, not a row."""


def guarded(row: int, line: int, make: Callable[[], Record]) -> Record:
    """The record that `make` returns; where it raises, whatever it is, a record with that as its fault.

    A reader goes through its rows in one generator, which an exception would end. The text of an exception may hold
    values of the row and is left out.
    """
    try:
        return make()
    except SightlineError:
        raise
    except Exception as error:
        return Record(row, {}, f"cannot be read ({type(error).__name__})", line)


def refused(text: str) -> SightlineError:
    """The error of a feed that cannot be used as a whole."""
    return SightlineError(ErrorKind.CONFIGURATION, text)


def excerpt(text: str, length: int = MAX_NAME_CHARS) -> str:
    """`text` from a feed as a message may contain it: short, without control characters and secrets of links."""
    begin = text[:MAX_MASKED_CHARS]
    safe = masked_link(begin) if HEAD.match(begin.strip()) else without_user_info(begin)
    clean = "".join(character if character.isprintable() else "?" for character in safe[: length + 1])
    return clean if len(clean) <= length else clean[: length - 3] + "..."


def shown_names(names: list[str]) -> str:
    """Names from a feed for a message, at most `MAX_NAMES` of them."""
    listed = ", ".join(excerpt(name) for name in names[:MAX_NAMES] if name)
    more = len(names) - MAX_NAMES
    return (listed or "none") + (f" and {more} more" if more > 0 else "")
