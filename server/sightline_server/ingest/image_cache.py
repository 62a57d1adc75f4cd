"""Downloads that survive a build: one file per link, so that a build that was killed does not ask again.

Rule: an entry is whole or it is a miss. It is written under a temporary name and renamed, carries the SHA-256 of its
body, and is named by the SHA-256 of its link, so that no link (and no signature in one) is on the disk. The folder is
the user's alone. A cache that cannot be written costs downloads, never a build.

An entry younger than `fresh_s` is used as it is; an older one is used once its server says that it still holds.
"""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.downloads import Body

FORMAT = "sightline-image-1"
FOLDER = "sightline-images"
TEMPORARY = ".part-"
MAX_HEAD_BYTES = 4096
DAY_S = 24 * 60 * 60.0


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """`max_bytes` of all entries, `fresh_s` before an entry is checked with its server, `unused_s` before it goes."""

    max_bytes: int = 50 * 1024**3
    fresh_s: float = DAY_S
    unused_s: float = 30 * DAY_S


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry: its `body`, and whether it may be used without asking the server."""

    body: Body
    fresh: bool


class ImageCache:
    """The cache below `folder`. Its methods block on the disk and may run in several threads.

    `notify` is called once when images are no longer stored. Raises `SightlineError` of kind CONFIGURATION when the
    folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        limits: CacheLimits | None = None,
        notify: Callable[[str], None] = lambda text: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits or CacheLimits()
        self._notify = notify
        self._now = now
        self._lock = threading.Lock()
        self._full = False
        self._folder = private_folder(folder)
        self._bytes = self._tidy()

    def get(self, url: str, max_bytes: int) -> Kept | None:
        """The entry of `url`; None for one that is missing, damaged or over `max_bytes`."""
        path = self._path(url)
        try:
            with path.open("rb") as file:
                age_s = self._now() - os.fstat(file.fileno()).st_mtime
                body = parse_entry(file.read(max_bytes + MAX_HEAD_BYTES + 1), path.name)
        except OSError:
            return None
        if body is None or len(body.content) > max_bytes:
            return None
        return Kept(body, abs(age_s) < self._limits.fresh_s)

    def put(self, url: str, body: Body) -> None:
        """Stores the answer for `url`, unless the cache is full."""
        path = self._path(url)
        entry = entry_of(body, path.name)
        with self._lock:
            if self._full:
                return
            self._full = self._bytes + len(entry) > self._limits.max_bytes
            if not self._full:
                self._bytes += len(entry)
        if self._full:
            self._notify(f"the image cache is full ({self._limits.max_bytes} bytes); no more images are stored")
            return
        try:
            self._write(path, entry)
        except OSError as error:
            self._full = True
            self._notify(f"the image cache cannot be written ({error.strerror}); no more images are stored")

    def renew(self, url: str, max_bytes: int) -> Body | None:
        """The entry of `url`, which its server just confirmed; it is fresh again."""
        kept = self.get(url, max_bytes)
        if kept is None:
            return None
        now = self._now()
        with contextlib.suppress(OSError):
            os.utime(self._path(url), (now, now))
        return kept.body

    def _path(self, url: str) -> Path:
        key = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        return self._folder / key[:2] / key

    def _write(self, path: Path, entry: bytes) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(entry)
            now = self._now()
            os.utime(name, (now, now))
            # Without fsync: after a power cut the digest reveals a torn entry, and a miss costs one download.
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _tidy(self) -> int:
        """Removes leftovers, unused entries and the oldest ones over the limit; returns the bytes that are left."""
        now = self._now()
        kept: list[tuple[float, int, Path]] = []
        for path, found in entries(self._folder):
            age_s = now - found.st_mtime
            if age_s > (DAY_S if path.name.startswith(TEMPORARY) else self._limits.unused_s):
                removed(path)
            elif not path.name.startswith(TEMPORARY):
                kept.append((found.st_mtime, found.st_size, path))
        total = sum(size for _, size, _ in kept)
        if total > self._limits.max_bytes:
            for _, size, path in sorted(kept):
                if total <= 0.9 * self._limits.max_bytes:
                    break
                if removed(path):
                    total -= size
        return total


def private_folder(folder: Path) -> Path:
    """The cache's own folder below `folder`, made if missing. Raises `SightlineError` when others may write to it."""
    own = folder / FOLDER
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        own.mkdir(mode=0o700, exist_ok=True)
        found = own.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise SightlineError(ErrorKind.CONFIGURATION, f"the image cache {own} is not a folder of this user")
        own.chmod(0o700)
    except OSError as error:
        message = f"the image cache {own} cannot be used: {error.strerror}"
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error
    return own


def removed(path: Path) -> bool:
    """Removes an entry if that is possible, and says whether it is gone."""
    try:
        path.unlink(missing_ok=True)
    except OSError:  # a folder, or a file system that is read-only by now
        return False
    return True


def entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files of the cache with their facts."""
    for path in folder.glob("??/*"):
        try:
            yield path, path.stat()
        except OSError:
            continue


def entry_of(body: Body, key: str) -> bytes:
    """The file of an entry: a line of JSON, then the body."""
    validators = {"etag": body.etag, "last_modified": body.last_modified}
    facts = {"format": FORMAT, "key": key, "sha256": hashlib.sha256(body.content).hexdigest()}
    head = json.dumps(facts | validators).encode() + b"\n"
    if len(head) > MAX_HEAD_BYTES:
        head = json.dumps(facts | {"etag": "", "last_modified": ""}).encode() + b"\n"
    return head + body.content


def parse_entry(entry: bytes, key: str) -> Body | None:
    """The body of an entry that is whole and belongs to `key`; None for anything else."""
    head, _, content = entry.partition(b"\n")
    try:
        facts = json.loads(head)
        body = Body(content, str(facts["etag"]), str(facts["last_modified"]))
        whole = facts["format"] == FORMAT and facts["key"] == key
        return body if whole and facts["sha256"] == hashlib.sha256(content).hexdigest() else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
