"""The header of a delimited text: which row it is, the delimiter, and the columns.

Rule: the header is one line, the first row within the first `MAX_HEADER_ROWS`, whose names hold `id` and `image_link`
by any of their spellings, by whichever delimiter. `sep=;` of Excel and remarks (`# Required | ...`) may be above it.
"""

import re
from dataclasses import dataclass

from sightline_server.ingest.feeds import exporters
from sightline_server.ingest.feeds.columns import REQUIRED, canonical_names, column_name
from sightline_server.ingest.feeds.exporters import Exporter
from sightline_server.ingest.feeds.links import looks_like_image_link
from sightline_server.ingest.feeds.records import BAD_CHARACTER, refused, shown_names
from sightline_server.ingest.feeds.rows import Dialect, Row, read_rows
from sightline_server.ingest.feeds.text import Line, Lines

DELIMITERS = "\t;,|"
MAX_HEADER_ROWS = 10
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\s;,]*', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Header:
    """The header: its row number, the names of its columns (empty ones have none), and the system that wrote it."""

    row: int
    line: int
    names: list[str]
    dialect: Dialect
    exporter: Exporter | None = None


def read_header(name: str, lines: Lines) -> Header:
    """The header of the table `name`; `lines` then continue behind it. Raises `SightlineError` where there is none."""
    delimiters = DELIMITERS
    first = next(lines, None)
    if first is None:
        raise refused(f"{name} is empty")
    separator = SEPARATOR_LINE.fullmatch(first.text)
    if separator:
        delimiters = separator[1]
    else:
        lines.take_back([first])
    head = [line for _, line in zip(range(MAX_HEADER_ROWS), lines, strict=False)]
    by_weight = sorted(delimiters, key=lambda sign: -weight(head, sign))
    headers = [found for delimiter in by_weight if (found := find_header(head, delimiter)) is not None]
    if headers:
        # The first line that can be one: a text further down may hold the names of columns between other delimiters.
        header = min(headers, key=lambda each: each.line)
        lines.take_back([line for line in head if line.number > header.line])
        return header
    raise no_header(name, head, max(delimiters, key=lambda sign: weight(head, sign)))


def weight(head: list[Line], delimiter: str) -> int:
    """The number of times that `delimiter` occurs in the first rows."""
    return sum(line.text.count(delimiter) for line in head[:MAX_HEADER_ROWS])


def find_header(head: list[Line], delimiter: str) -> Header | None:
    """The header among the first lines, if they are separated by `delimiter`."""
    for number, row in enumerate(head_rows(head, delimiter), start=1):
        header = to_header(number, row, delimiter)
        if header is not None:
            return header
    return None


def head_rows(head: list[Line], delimiter: str) -> list[Row]:
    """The first rows."""
    return list(read_rows(Lines(iter(head)), Dialect(delimiter)))


def to_header(number: int, row: Row, delimiter: str) -> Header | None:
    """The header that `row` is; None where columns without which no product can be read are missing."""
    raw = [column_name(field) for field in row.fields]
    system = exporters.recognised(raw)
    names = canonical_names([system.columns.get(name, name) for name in raw] if system else raw)
    if any(required not in names for required in REQUIRED) or BAD_CHARACTER in "".join(names):
        return None
    if any(looks_like_image_link(field) for field in row.fields):
        # The line break behind the header is missing: the first product would be lost in it.
        return None
    columns = Dialect(delimiter, len(names), names.index("id"), names.index("image_link"))
    return Header(number, row.line, names, columns, system)


def no_header(name: str, head: list[Line], delimiter: str) -> Exception:
    """The error of a table without a header: the columns of its first row that could be one, and what is missing."""
    rows = [row.fields for row in head_rows(head, delimiter) if row.fields]
    plain = [fields for fields in rows if not fields[0].lstrip('"').startswith("#")]
    raw = [column_name(field) for field in (plain or rows or [[]])[0]]
    known = exporters.hint(raw)
    names = canonical_names(raw)
    missing = " and ".join(f"no column {required}" for required in REQUIRED if required not in names)
    text = f"{name} has {missing or 'no line with column names only'}; its columns are: {shown_names(names)}"
    return refused(f"{text}. It looks like {known}" if known else text)
