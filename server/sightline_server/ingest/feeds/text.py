"""Bytes of a text feed -> characters and lines.

Rule: a byte that the encoding does not allow becomes `BAD_CHARACTER`, so that it costs its row and not the file. A line
ends with LF, CRLF or CR; a line longer than `MAX_RECORD_CHARS` is not kept in memory.
"""

import codecs
import io
import re
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from sightline_server.ingest.feeds.records import BAD_CHARACTER, MAX_RECORD_CHARS, excerpt, refused

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
HEAD_BYTES = 4096
NO_TEXT = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem", "utf-7"})
XML_ENCODING = re.compile(rb"""^\s*<\?xml[^>]{0,80}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
SKIP_CHARS = 64 * 1024


def mark_bad_bytes(error: UnicodeError) -> tuple[str, int]:
    """The codec error handler that puts `BAD_CHARACTER` where bytes cannot be decoded."""
    if isinstance(error, UnicodeDecodeError):
        return BAD_CHARACTER, error.end
    raise error


codecs.register_error("sightline-feed", mark_bad_bytes)


def checked_encoding(name: str) -> str:
    """`name` as Python knows it. Raises `SightlineError` where it is not the encoding of a text."""
    info: codecs.CodecInfo | None = None
    # A codec that is not for text, such as base64, refuses to decode with a LookupError.
    with suppress(LookupError, ValueError):
        with suppress(UnicodeError):
            b"test".decode(name)
        info = codecs.lookup(name)
    if info is None or info.name in NO_TEXT or info.name.replace("-", "_") in NO_TEXT:
        raise refused(
            f"unknown encoding {excerpt(name)!r}; known are utf-8, utf-16, cp1252, iso-8859-15, shift_jis, ..."
        )
    return info.name


def encoding_of(head: bytes, stated: str, declared: bool = False) -> str:
    """The encoding of a feed that begins with `head`: its byte order mark, else `stated`, else UTF-8.

    With `declared` the declaration of an XML document counts before UTF-8 does.
    """
    for mark, encoding in BOMS:
        if head.startswith(mark):
            return encoding
    if stated:
        return checked_encoding(stated)
    wide = wide_encoding(head)
    if wide and declared:
        return wide
    if wide:
        raise refused(f"the feed looks like UTF-16 without a byte order mark; try --encoding {wide}")
    found = XML_ENCODING.match(head) if declared else None
    name = checked_encoding(found[1].decode("ascii")) if found else "utf-8"
    # A declaration that can be read byte by byte is not UTF-16; .NET writes that into UTF-8 documents.
    return "utf-8" if name.startswith(("utf-16", "utf-32")) else name


def wide_encoding(head: bytes) -> str:
    """The UTF-16 variant of `head` if every other byte is zero; empty otherwise."""
    sample = head[: min(len(head), 64) // 2 * 2]
    if len(sample) < 8:
        return ""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    most = len(sample) // 2 * 3 // 4
    if odd > most and not even:
        return "utf-16-le"
    return "utf-16-be" if even > most and not odd else ""


def opened_text(file: BinaryIO, stated: str, declared: bool = False) -> io.TextIOWrapper:
    """The characters of `file` from its beginning, line ends as they are."""
    file.seek(0)
    encoding = encoding_of(file.read(HEAD_BYTES), stated, declared)
    file.seek(0)
    return io.TextIOWrapper(file, encoding, errors="sightline-feed", newline="")


def release(text: io.TextIOWrapper) -> None:
    """Leaves the file of `text` to its owner, who may have closed it before the last row was read."""
    if not text.closed:
        text.detach()


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end; `number` counts from 1. Of one that is too long, `text` is empty."""

    number: int
    text: str
    too_long: bool = False


class Lines:
    """An iterator over lines that takes lines back."""

    def __init__(self, source: Iterator[Line]) -> None:
        self._source = source
        self._returned: deque[Line] = deque()

    def __iter__(self) -> Iterator[Line]:
        return self

    def __next__(self) -> Line:
        return self._returned.popleft() if self._returned else next(self._source)

    def take_back(self, lines: list[Line]) -> None:
        """Makes `lines` the next ones, in their order."""
        self._returned.extendleft(reversed(lines))


def lines_of(text: io.TextIOWrapper) -> Iterator[Line]:
    """The lines of `text`, one in memory at a time."""
    number = 0
    while line := text.readline(MAX_RECORD_CHARS + 2):
        number += 1
        ended = line.endswith(("\n", "\r"))
        if len(line) > MAX_RECORD_CHARS and not ended:
            skip_line(text)
            yield Line(number, "", too_long=True)
        else:
            yield Line(number, line.rstrip("\r\n") if ended else line)


def skip_line(text: io.TextIOWrapper) -> None:
    """Reads up to the end of the current line and keeps nothing."""
    while part := text.readline(SKIP_CHARS):
        if part.endswith(("\n", "\r")):
            return
