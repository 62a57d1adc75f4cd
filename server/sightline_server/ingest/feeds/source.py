"""The source of a feed: a file, a web address, or standard input -> one file that can be read repeatedly.

Rule: downloaded, piped and packed feeds go through a nameless temporary file (below `TMPDIR`), never through memory,
and are fetched once.
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from sightline_server.ingest.feeds.download import download, is_url, url_name
from sightline_server.ingest.feeds.formats import HEAD_BYTES, Format, Packing, format_of, packing_of
from sightline_server.ingest.feeds.options import FeedLimits, FeedOptions
from sightline_server.ingest.feeds.records import refused
from sightline_server.ingest.feeds.unpack import copy, unpack
from sightline_server.ingest.link_secrets import without_user_info

STANDARD_INPUT = "-"
ADDRESS = re.compile(r"\W*(?:https?:|(?:ftp|file|s3|gs|sftp):/)", re.I)
"""A text that looks like an address of a kind that is not read; it may hold a password, and is in no message."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenFeed:
    """A feed that is ready to be read: `name` for messages, and `parent`, the folder of its relative image links.

    A downloaded feed has no such folder: its author must not name files of this machine.
    """

    name: str
    parent: Path | None
    file: BinaryIO
    format: Format


@contextmanager
def opened_feed(feed: str | Path, options: FeedOptions | None = None) -> Iterator[OpenFeed]:
    """The feed at a path, at an http(s) address, or, for `-`, on standard input; packed ones are unpacked.

    Raises `SightlineError` where it cannot be fetched or is not a feed.
    """
    options = options or FeedOptions()
    with ExitStack() as stack:
        name, parent, file = fetched(str(feed), options, stack)
        yield stack.enter_context(feed_of(file, name, parent, options))


@contextmanager
def feed_of(file: BinaryIO, name: str, parent: Path | None, options: FeedOptions) -> Iterator[OpenFeed]:
    """The feed in a file, unpacked if it is packed. Raises `SightlineError` where it is not a feed."""
    with ExitStack() as stack:
        packing = packing_of(head_of(file))
        if packing is not Packing.PLAIN:
            unpacked = stack.enter_context(temporary())
            name = unpack(file, unpacked, name, packing, options.limits)
            file = unpacked
        yield OpenFeed(name, parent, file, format_of(name, head_of(file)))


def fetched(feed: str, options: FeedOptions, stack: ExitStack) -> tuple[str, Path | None, BinaryIO]:
    """The feed's name, the folder of its relative links, and its bytes in a file."""
    if is_url(feed):
        file = stack.enter_context(temporary())
        download(feed, file, options)
        return url_name(feed), None, file
    if feed == STANDARD_INPUT:
        if sys.stdin is None:
            raise refused("the feed is read from standard input (-), which is closed")
        file = stack.enter_context(temporary())
        copy(sys.stdin.buffer, file, "standard input", options.limits.max_bytes)
        return "standard input", Path.cwd(), file
    return local(Path(feed), options.limits, stack)


def local(path: Path, limits: FeedLimits, stack: ExitStack) -> tuple[str, Path, BinaryIO]:
    """A file on this machine. One that cannot be read twice, such as a named pipe, is copied."""
    if ADDRESS.match(str(path)):
        raise refused("feeds are read from a path, from http:// or https://, or from standard input (-)")
    if path.is_dir():
        raise refused(f"{path.name} is a folder; name the feed in it")
    if not path.exists():
        raise refused(f"no such feed: {without_user_info(str(path))}")
    try:
        file = stack.enter_context(path.open("rb"))
        if path.is_file():
            return path.name, path.parent, file
        copied = stack.enter_context(temporary())
        copy(file, copied, path.name, limits.max_bytes)
    except OSError as error:
        raise refused(f"{path.name} cannot be read: {type(error).__name__}") from error
    return path.name, path.parent, copied


def temporary() -> BinaryIO:
    """A temporary file without a name, which the kernel removes with the process."""
    return cast("BinaryIO", tempfile.TemporaryFile())


def head_of(file: BinaryIO) -> bytes:
    """The first bytes of a file, which is then at its beginning."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    return head
