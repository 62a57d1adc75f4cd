"""The folder in which a build on Ray keeps what was embedded, so that the next one goes on from there.

    FOLDER/build.json           the feed and the options that the embeddings belong to
    FOLDER/part-0001-000012.parquet   block 12 of the first run; see parts.py
Rule: a file is there whole or not at all, and only one process writes. An image that has an embedding is never embedded
again; one that failed is tried again by the next run.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from sightline_server.catalog.durable import sync
from sightline_server.catalog.lock import WriterLock
from sightline_server.domain.models import EmbedderSpec, embedder_mismatch
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.on_ray import parts
from sightline_server.ingest.on_ray.parts import Part
from sightline_server.ingest.same_images import SameImages
from sightline_server.ingest.seen_images import SeenImages

FORMAT = 1
DESCRIPTION = "build.json"
PARTS = "part-*.parquet"
LOCK = "lock"


class Checkpoint:
    """A context: the checkpoint at `folder` for the build that `belongs_to` describes, held by this process.

    One without any embedding is removed when it is left.
    `embedded` are the keys of images that have an embedding, and `embedder` made them; None where there is none yet.
    """

    def __init__(self, folder: Path, belongs_to: Mapping[str, str]) -> None:
        self.folder = folder
        self._belongs_to = {"format": str(FORMAT), **belongs_to}
        self._lock = WriterLock(folder, LOCK)
        self._run = 1
        self.embedded: set[bytes] = set()
        self.embedder: EmbedderSpec | None = None

    def __enter__(self) -> Self:
        """Raises `SightlineError` of kind CONFIGURATION where it is in use, damaged or of another build."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            self._check_description()
            for path in self._files():
                self._run = max(self._run, 1 + int(path.name.split("-")[1]))
                self._take(self._read(path))
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.embedded:
            self.remove()
        self._lock.release()

    def add(self, block: int, content: bytes, origin: str) -> Part:
        """Keeps the outcome of a block durably and returns it; `origin` names the worker in messages.

        Raises `SightlineError` of kind CONFIGURATION where another embedder made it.
        """
        part = parts.decode(content)
        if self.embedder is not None and (reason := embedder_mismatch(self.embedder, part.embedder)):
            message = f"the worker on {origin} has another embedder than those before it: {reason}"
            raise SightlineError(ErrorKind.CONFIGURATION, message)
        path = self.folder / f"part-{self._run:04d}-{block:06d}.parquet"
        write_file(path, content)
        self._take(part)
        return part

    def fill(self, seen: SeenImages, same: SameImages) -> None:
        """Adds every image to those that a build has seen. Raises as `__enter__`."""
        failed: dict[bytes, str] = {}
        added: set[bytes] = set()
        for image in (image for path in self._files() for image in self._read(path).images):
            if image.embeddings is None:
                failed[image.key] = image.error
            elif image.key not in added:
                added.add(image.key)
                seen.add_key(image.key, image.embeddings)
                same.count(image.content)
        for key, reason in failed.items():
            if key not in added:
                seen.fail_key(key, reason)

    def remove(self) -> None:
        """Removes the checkpoint, and its folder where nothing else is in it."""
        for path in (*self._files(), self.folder / DESCRIPTION, self.folder / LOCK):
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _check_description(self) -> None:
        """Writes the description of a new checkpoint, and compares that of another."""
        path = self.folder / DESCRIPTION
        if not path.exists():
            if others := [entry.name for entry in self.folder.iterdir() if entry.name != LOCK]:
                message = f"{self.folder} is not a checkpoint of a build: it holds {min(others)}; name another folder"
                raise SightlineError(ErrorKind.CONFIGURATION, message)
            write_file(path, json.dumps(self._belongs_to, indent=1).encode())
            return
        try:
            found = json.loads(path.read_bytes())
        except ValueError as error:
            raise self._damaged(path) from error
        names = [name for name in self._belongs_to if found.get(name) != self._belongs_to[name]]
        if names:
            message = (
                f"{self.folder} holds embeddings of another build (its {names[0]} differs). Remove the folder to begin "
                "again, or name another with --checkpoint"
            )
            raise SightlineError(ErrorKind.CONFIGURATION, message)

    def _take(self, part: Part) -> None:
        self.embedder = self.embedder or part.embedder
        self.embedded.update(image.key for image in part.images if image.embeddings is not None)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(PARTS))

    def _read(self, path: Path) -> Part:
        try:
            return parts.decode(path.read_bytes())
        except (ValueError, OSError, pa.ArrowException, SightlineError) as error:
            raise self._damaged(path) from error

    def _damaged(self, path: Path) -> SightlineError:
        message = f"{path} cannot be read; remove it, and what it had is embedded again"
        return SightlineError(ErrorKind.CONFIGURATION, message)


def write_file(path: Path, content: bytes) -> None:
    """Writes a file that is whole and on the disk, or not there."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)
