"""The embeddings of a reembedding that has not ended, in `DIR/reembedding.sqlite`, so that another run goes on.

Rule: an embedding is found by the stored image that it is of and by its embedder, so nothing is reused that has changed
since. One run at a time; the file is removed once a revision holds what is in it.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sightline_server.catalog.originals_file import file_errors
from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError

CACHE = "reembedding.sqlite"
LOCK = "REEMBEDDING-LOCK"
TABLE = (
    "CREATE TABLE IF NOT EXISTS embeddings (embedder BLOB NOT NULL, image BLOB NOT NULL, vector BLOB NOT NULL, "
    "file TEXT NOT NULL, PRIMARY KEY (embedder, image)) WITHOUT ROWID"
)
BUSY_S = 10.0
REMEDY = "remove it: the images are embedded again then"


class EmbeddingCache:
    """A context: the cache of the catalog in `folder` for one embedder and so many `views`.

    Blocking; any thread may call it in turn. Raises `SightlineError`: CONFIGURATION while another run uses it, or for a
    damaged file; OVERLOADED for a full disk.
    """

    def __init__(self, folder: Path, embedder: EmbedderSpec, views: int = ONE_VIEW) -> None:
        self._path = folder / CACHE
        self._lock_path = folder / LOCK
        self._embedder = fingerprint(embedder, views)
        self._dimension = embedder.dimension
        self._lock = -1

    def __enter__(self) -> Self:
        with file_errors(self._path, REMEDY):
            self._lock = locked(self._lock_path)
            try:
                self._connection = sqlite3.connect(
                    self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
                )
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=NORMAL")
                self._connection.execute(TABLE)
            except BaseException:
                self._unlock()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # What ended the run counts, not what the file says to its end.
            with suppress(OSError, sqlite3.Error):
                self._remove_if_empty()
        finally:
            self._unlock()

    def get(self, image: bytes) -> tuple[NDArray[np.float32], str] | None:
        """The embeddings [N,D] of a stored image, one for each view, and the name of its original file.

        None for an image that has none yet.
        """
        query = "SELECT vector, file FROM embeddings WHERE embedder = ? AND image = ?"
        with file_errors(self._path, REMEDY):
            row = self._connection.execute(query, (self._embedder, image)).fetchone()
        return None if row is None else (np.frombuffer(row[0], "<f4").reshape(-1, self._dimension), row[1])

    def add(self, embedded: Mapping[bytes, tuple[NDArray[np.float32], str]]) -> None:
        """Keeps the embeddings of some images, with the names of their original files."""
        rows = [
            (self._embedder, image, vector.astype("<f4").tobytes(), file) for image, (vector, file) in embedded.items()
        ]
        with file_errors(self._path, REMEDY):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?)", rows)
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def clear(self) -> None:
        """Removes the embeddings of this embedder."""
        with file_errors(self._path, REMEDY):
            self._connection.execute("DELETE FROM embeddings WHERE embedder = ?", (self._embedder,))

    def _remove_if_empty(self) -> None:
        """Closes the file, and removes it where no embedder has an embedding in it."""
        with closing(self._connection):
            (left,) = self._connection.execute("SELECT EXISTS (SELECT 1 FROM embeddings)").fetchone()
        if not left:
            for ending in ("", "-wal", "-shm"):
                self._path.with_name(f"{CACHE}{ending}").unlink(missing_ok=True)

    def _unlock(self) -> None:
        with suppress(OSError):
            self._lock_path.unlink()
        os.close(self._lock)


def locked(path: Path) -> int:
    """The descriptor of the lock of a run. Raises `SightlineError` of kind CONFIGURATION while another run has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            message = f"another process reembeds the catalog at {path.parent}; wait until it has ended"
            raise SightlineError(ErrorKind.CONFIGURATION, message) from None
        with suppress(FileNotFoundError):
            # The run before may have removed the file between these two steps.
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def fingerprint(embedder: EmbedderSpec, views: int = ONE_VIEW) -> bytes:
    """Bytes that are equal for embedders whose vectors can be compared, and for the same number of views."""
    size = (embedder.dimension, embedder.height, embedder.width)
    more = [views] if views > ONE_VIEW else []
    named = [embedder.sha256 or embedder.name, size, embedder.preprocess.facts(), *more]
    return blake2b(json.dumps(named, sort_keys=True).encode(), digest_size=16).digest()
