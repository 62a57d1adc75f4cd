"""The query file of an evaluation: a table with the columns image, product_id and perhaps box.

Rule: the file is read whole or refused with one message that names the row; images are relative to the file. A byte
order mark decides the encoding, else UTF-8 where the bytes are UTF-8, else cp1252, as spreadsheets write it.
"""

import codecs
import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from sightline_client.events import Box, Region

MAX_BYTES = 64 * 1024 * 1024
"""Largest query file; a larger one is probably another file."""
NEEDED = ("image", "product_id")
DELIMITERS = ",;\t|"
NAMED = 5
"""Most names that a message lists."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Regions(Enum):
    """The region to search in each photo: the file's box, the whole photo, or what the detector finds."""

    BOX = "box"
    WHOLE = "whole"
    DETECT = "detect"


class QueryFileError(Exception):
    """The query file cannot be used; the message names the row."""


@dataclass(frozen=True, slots=True)
class Query:
    """One photo and the product that it shows; `box` is where, if the file says so."""

    image: Path
    product_id: str
    box: Box | None = None

    def regions(self, kind: Regions) -> tuple[Region, ...]:
        """The regions of the request."""
        if kind is Regions.WHOLE:
            return (Box.whole(),)
        return (self.box,) if kind is Regions.BOX and self.box is not None else ()


@dataclass(frozen=True, slots=True)
class QueryFile:
    """The queries of a file. `encoding` is what it was read with, `assumed` whether that is only a guess."""

    queries: tuple[Query, ...]
    encoding: str
    assumed: bool = False

    @property
    def missing_images(self) -> list[Path]:
        """The images that are not there, each once."""
        return [image for image in dict.fromkeys(query.image for query in self.queries) if not _is_file(image)]


def read_queries(path: Path, encoding: str | None = None) -> list[Query]:
    """The rows of the file, as `read_query_file` reads it. Raises `QueryFileError`, or `OSError`."""
    return list(read_query_file(path, encoding).queries)


def read_query_file(path: Path, encoding: str | None = None) -> QueryFile:
    """Reads the file; `encoding` overrides what is found out. Raises `QueryFileError`, or `OSError`."""
    text, used, assumed = _decoded(path, _bytes(path), encoding)
    lines = text.splitlines(keepends=True)
    if lines and lines[0].strip().lower().startswith("sep="):  # Excel's own line
        lines = lines[1:]
    delimiter = next((each for each in DELIMITERS if _has_columns(lines[:1], each)), ",")
    try:
        queries = tuple(_queries(path, lines, delimiter))
    except csv.Error as error:
        raise QueryFileError(f"{path} is not a CSV file: {error}") from None
    if not queries:
        raise QueryFileError(f"{path} has no rows")
    return QueryFile(queries, used, assumed)


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long, or a folder cannot be searched
        return False


def _bytes(path: Path) -> bytes:
    # A named pipe would be waited for, and a device such as /dev/zero never ends.
    if path.exists() and not path.is_file():
        raise QueryFileError(f"{path} is not a file")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise QueryFileError(f"{path} has more than {MAX_BYTES >> 20} MiB, too much for a query file")
    return data


def _decoded(path: Path, data: bytes, encoding: str | None) -> tuple[str, str, bool]:
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None) or _unmarked_utf16(data)
    assumed = False
    try:
        if encoding is not None:
            return data.decode(encoding).removeprefix("\ufeff"), encoding, False
        if marked is None:
            assumed = not _is_utf8(data)
        used = marked or ("cp1252" if assumed else "utf-8")
        return data.decode(used), used, assumed
    except LookupError:
        raise QueryFileError(f"unknown encoding {encoding!r}; use a name such as utf-8, cp1252 or utf-16") from None
    except (UnicodeError, ValueError) as error:
        tried = encoding or marked or "UTF-8 or cp1252"
        where = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise QueryFileError(f"{path} is not {tried} text{where}; name its encoding with --encoding") from None


def _unmarked_utf16(data: bytes) -> str | None:
    """UTF-16 shows by the zero byte of the header's first letter."""
    return {b"\0": "utf-16-be"}.get(data[:1]) or {b"\0": "utf-16-le"}.get(data[1:2])


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _has_columns(lines: Sequence[str], delimiter: str) -> bool:
    try:
        header = next(csv.reader(lines, delimiter=delimiter), [])
    except csv.Error:
        return False
    return set(NEEDED) <= {_column(name) for name in header}


def _column(name: str) -> str:
    return name.strip().lower()


def _queries(path: Path, lines: Sequence[str], delimiter: str) -> Iterator[Query]:
    rows = csv.DictReader(io.StringIO("".join(lines), newline=""), delimiter=delimiter, strict=True)
    names = [_column(name) for name in rows.fieldnames or ()]
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise QueryFileError(f"{path} has no column {', '.join(missing)} in its first line")
    rows.fieldnames = names
    for row in rows:
        yield _query(path, row, rows.line_num)


def _query(path: Path, row: dict[str | Any, str | Any], line: int) -> Query:
    image, product_id = (row.get("image") or "").strip(), (row.get("product_id") or "").strip()
    if not image or not product_id or "\0" in image:
        raise QueryFileError(f"{path} line {line}: image and product_id must be filled")
    return Query(path.parent / image, product_id, _box(path, (row.get("box") or "").strip(), line))


def _box(path: Path, text: str, line: int) -> Box | None:
    if not text:
        return None
    try:
        x_min, y_min, x_max, y_max = (float(part) for part in text.split(","))
    except ValueError:
        raise QueryFileError(f"{path} line {line}: box {text[:60]!r} is not x0,y0,x1,y1") from None
    if not all(map(math.isfinite, (x_min, y_min, x_max, y_max))):
        raise QueryFileError(f"{path} line {line}: box {text[:60]!r} has a number that is not finite")
    return Box(x_min, y_min, x_max, y_max)
