"""The format of a feed, detected from its content.

Rule: content counts, not the name: feeds come from addresses such as `/export.php?type=google` and under wrong
suffixes. Only text that begins like nothing in particular is taken for what its suffix says.
"""

from enum import Enum
from pathlib import PurePosixPath

from sightline_server.ingest.feeds.records import refused
from sightline_server.ingest.feeds.text import BOMS, HEAD_BYTES, wide_encoding

__all__ = ["HEAD_BYTES", "Format", "Packing", "format_of", "packing_of"]

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
OTHER_FILES = (
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls); save it as CSV UTF-8"),
    (b"%PDF-", "a PDF document"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"SQLite format 3", "a database"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; use .gz or .zip"),
    (b"Rar!", "a RAR archive; use .gz or .zip"),
    (b"BZh", "packed by bzip2; use .gz or .zip"),
    (b"\xfd7zXZ\x00", "packed by xz; use .gz or .zip"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd; use .gz or .zip"),
)


class Format(Enum):
    """The formats of feeds."""

    DELIMITED = "CSV or TSV"
    JSON = "JSON"
    XML = "XML"
    PARQUET = "Parquet"


class Packing(Enum):
    """The compression of a feed."""

    PLAIN = "plain"
    GZIP = "gzip"
    ZIP = "zip"


def packing_of(head: bytes) -> Packing:
    """The packing of a file that begins with `head`."""
    if head.startswith(b"\x1f\x8b"):
        return Packing.GZIP
    return Packing.ZIP if head.startswith((b"PK\x03\x04", b"PK\x05\x06")) else Packing.PLAIN


def format_of(name: str, head: bytes) -> Format:
    """The format of the feed `name` that begins with `head`. Raises `SightlineError` for content that is not a feed."""
    if not head:
        raise refused(f"{name} is empty")
    if head.startswith(b"PAR1"):
        return Format.PARQUET
    kind = next((kind for magic, kind in OTHER_FILES if head.startswith(magic)), "")
    if not kind and head[257:262] == b"ustar":
        kind = "a tar archive; use .gz or .zip of the feed itself"
    if kind:
        raise refused(f"{name} is {kind}. Feeds are CSV, TSV, JSON, XML or Parquet")
    first = first_character(head)
    if first == "<":
        return Format.XML
    suffix = PurePosixPath(name).suffix.lower()
    if first in ("{", "[") or suffix in JSON_SUFFIXES:
        return Format.JSON
    return Format.PARQUET if suffix == ".parquet" else Format.DELIMITED


def first_character(head: bytes) -> str:
    """The first character of a text that is not blank."""
    encoding = (
        next((encoding for mark, encoding in BOMS if head.startswith(mark)), "") or wide_encoding(head) or "latin-1"
    )
    return head[: len(head) // 4 * 4 or len(head)].decode(encoding, "ignore").lstrip("\ufeff \t\r\n\x00")[:1]
