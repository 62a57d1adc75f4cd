"""The folder `index` of a catalog: one record and at most one serialized index for each content that was measured.

    CATALOG/index/<16 digits of the content's digest>.json, .faiss
Rule: everything in it can be made again, so what is damaged, foreign or of another content is ignored, never served.
A file is on the disk before the record that names it, and a record replaces another in one step.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.catalog.durable import sync
from sightline_server.index.choice.building import from_bytes
from sightline_server.index.choice.record import IndexFile, IndexRecord
from sightline_server.index.vectors import Vectors

logger = logging.getLogger(__name__)

FOLDER = "index"
KEPT = 2
"""Contents whose record and file are kept: the current one, and the one that a rollback goes back to."""
LARGEST_RECORD = 64 * 1024
HASHED_ROWS = 65_536


class IndexShelf:
    """The records of the catalog at `catalog`."""

    def __init__(self, catalog: Path) -> None:
        self._folder = catalog / FOLDER

    def record_of(self, content: str) -> IndexRecord | None:
        """The record of the content with the digest `content`; None without one, or when it cannot be read."""
        record = read(self._stem(content).with_suffix(".json"))
        return record if record is not None and record.content == content else None

    def newest(self) -> IndexRecord | None:
        """The record that was written last, of any content."""
        return next((found for path in self._newest_first() if (found := read(path)) is not None), None)

    def load(self, record: IndexRecord, vectors: Vectors) -> Any:
        """The serialized index of `record`, whose rows are those of `vectors`. None, and a log line, without one."""
        path = self._stem(record.content).with_suffix(".faiss")
        if record.file is None:
            return None
        try:
            data = np.fromfile(path, np.uint8)
        except OSError as error:
            logger.warning("the index file %s is ignored: %s", path, error.strerror or error)
            return None
        if hashlib.sha256(data.data).hexdigest() != record.file.sha256:
            logger.warning("the index file %s is ignored: it is not what was written", path)
            return None
        if digest_of(vectors) != record.file.vectors_sha256:
            logger.warning("the index file %s is ignored: the catalog has its vectors in another order", path)
            return None
        return self._parsed(data, path)

    def save(self, record: IndexRecord, data: NDArray[np.uint8] | None) -> None:
        """Writes `record`, and `data` as its file. Raises `OSError`; the record that was there stays then."""
        self._folder.mkdir(exist_ok=True)
        sync(self._folder.parent)
        stem = self._stem(record.content)
        if data is not None:
            write(stem.with_suffix(".faiss"), data)
        write(stem.with_suffix(".json"), np.frombuffer(record.to_json().encode(), np.uint8))
        self._forget(stem)

    def _parsed(self, data: NDArray[np.uint8], path: Path) -> Any:
        try:
            return from_bytes(data)
        except RuntimeError:
            logger.warning("the index file %s is ignored: this FAISS cannot read it", path)
            return None

    def _stem(self, content: str) -> Path:
        return self._folder / content[:16]

    def _newest_first(self) -> Iterator[Path]:
        found = []
        for path in self._folder.glob("*.json"):
            with suppress(FileNotFoundError):  # another choice has just removed it
                found.append((path.stat().st_mtime_ns, path))
        yield from (path for _, path in sorted(found, reverse=True))

    def _forget(self, latest: Path) -> None:
        """Removes what is neither of the newest contents nor of the one just written."""
        others = [path.with_suffix("") for path in self._newest_first() if path.with_suffix("") != latest]
        kept = {latest, *others[: KEPT - 1]}
        for path in list(self._folder.iterdir()):
            if path.with_suffix("") not in kept:
                with suppress(OSError):  # a folder that is not ours, or gone
                    path.unlink()
        sync(self._folder)


def file_of(data: NDArray[np.uint8], vectors: Vectors) -> IndexFile:
    """The description of `data`, an index over `vectors`."""
    return IndexFile(hashlib.sha256(data.data).hexdigest(), digest_of(vectors))


def digest_of(vectors: Vectors) -> str:
    """SHA-256 of the vectors in their order."""
    digest = hashlib.sha256()
    for start in range(0, len(vectors), HASHED_ROWS):
        digest.update(np.ascontiguousarray(vectors[start : start + HASHED_ROWS]).data)
    return digest.hexdigest()


def read(path: Path) -> IndexRecord | None:
    """The record at `path`; None without one, and with a log line for something else."""
    try:
        if path.stat().st_size > LARGEST_RECORD:
            raise ValueError("it is too large")
        return IndexRecord.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        logger.warning("the index record %s is ignored: %s", path, error)
        return None


def write(path: Path, data: NDArray[np.uint8]) -> None:
    """Puts a file with `data` at `path` in one step, durably."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        data.tofile(partial)
        sync(partial)
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    sync(path.parent)
