"""Packed feeds: gzip, and zip archives that hold one feed.

Rule: unpacking is bounded by bytes and by ratio while it runs, whatever the archive says of itself. An archive within
an archive is refused.
"""

import errno
import gzip
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import IO, BinaryIO

from sightline_server.ingest.feeds.formats import HEAD_BYTES, Packing, packing_of
from sightline_server.ingest.feeds.options import FeedLimits
from sightline_server.ingest.feeds.records import excerpt, refused, shown_names

OUR_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
COPY_BYTES = 256 * 1024
MAX_MEMBERS = 10_000
FEED_SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xml", ".rss", ".atom", ".parquet")
OFFICE_MEMBERS = ("xl/workbook.xml", "content.xml", "word/document.xml")


def unpack(packed: BinaryIO, target: BinaryIO, name: str, packing: Packing, limits: FeedLimits) -> str:
    """Unpacks a feed into `target` and returns the unpacked feed's name.

    Raises `SightlineError` where it is damaged, too large, or not one feed.
    """
    limit = limits.unpacked_limit(packed.seek(0, 2))
    packed.seek(0)
    try:
        if packing is Packing.GZIP:
            with gzip.GzipFile(fileobj=packed, mode="rb") as source:
                copy(source, target, name, limit)
            inner = name.removesuffix(".gz").removesuffix(".GZ")
        else:
            with zipfile.ZipFile(packed) as archive:
                member = the_feed(archive, name)
                with archive.open(member) as source:
                    copy(source, target, name, limit)
            inner = f"{name}/{PurePosixPath(member.filename).name}"
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        # RuntimeError: an encrypted member; NotImplementedError: a rare compression.
        if isinstance(error, OSError) and error.errno in OUR_DISK:
            raise
        reason = "encrypted" if "encrypted" in str(error) else "damaged or cut off"
        raise refused(f"{name} cannot be unpacked: it is {reason}") from error
    target.seek(0)
    if packing_of(target.read(HEAD_BYTES)) is not Packing.PLAIN:
        raise refused(f"{name} is packed twice; pack the feed itself")
    target.seek(0)
    return inner


def the_feed(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """The one feed of an archive. Raises `SightlineError` where there is none or more than one."""
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise refused(f"{name} holds {len(members)} files, not one feed")
    names = [member.filename for member in members]
    if any(office in names for office in OFFICE_MEMBERS):
        raise refused(f"{name} is an Excel or office document; save it as CSV UTF-8")
    files = [member for member in members if not member.is_dir() and not hidden(member.filename)]
    feeds = [member for member in files if member.filename.lower().endswith(FEED_SUFFIXES)]
    chosen = files if len(files) == 1 else feeds
    if len(chosen) != 1:
        listed = shown_names([member.filename for member in files])
        raise refused(f"{name} holds {len(chosen)} feeds instead of one: {listed}")
    return chosen[0]


def hidden(path: str) -> bool:
    """Returns whether a member is a by-product of a desktop."""
    parts = PurePosixPath(path).parts
    return "__MACOSX" in parts or any(part.startswith(".") for part in parts) or parts[-1:] == ("Thumbs.db",)


def copy(source: IO[bytes] | gzip.GzipFile, target: BinaryIO, name: str, limit: int) -> None:
    """Copies at most `limit` bytes. Raises `SightlineError` where there are more."""
    copied = 0
    while part := source.read(COPY_BYTES):
        copied += len(part)
        if copied > limit:
            raise refused(f"{excerpt(name)} is larger than {limit} bytes unpacked")
        target.write(part)
