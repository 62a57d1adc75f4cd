"""The outcome of every image of a build so far, so that a link is downloaded and embedded once.

Rule: memory stays small (about 200 bytes a link). The embeddings, and the names of local features, lie in a file
without a name next to the catalog, which the kernel removes when the build ends, however it ends.
"""

import errno
import os
import tempfile
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.ingest.links import UnreadableImageError

NAME_BYTES = 32
"""Of the SHA-256 that names local features."""


class SeenImages:
    """A context: up to `views` embeddings float16 [N,D] of each link, or its failure. The file lies in `folder`."""

    def __init__(self, folder: Path, dimension: int, views: int = ONE_VIEW) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by __exit__
        self._dimension = dimension
        self._vector_bytes = 2 * dimension * views
        self._bytes = self._vector_bytes + NAME_BYTES
        self._count = 0
        self._outcomes: dict[bytes, int | str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def get(self, link: str) -> NDArray[np.float32] | UnreadableImageError | None:
        """The embeddings [N,D] of `link`, why it has none, or None for a link that was not seen yet."""
        outcome = self._outcomes.get(key_of(link))
        if outcome is None:
            return None
        if isinstance(outcome, str):
            return UnreadableImageError(outcome)
        stored = os.pread(self._file.fileno(), self._vector_bytes, outcome * self._bytes)
        vectors = np.frombuffer(stored, np.float16).astype(np.float32).reshape(-1, self._dimension)
        # The room of a view that the image does not have is empty, and no embedding is.
        return vectors[vectors.any(axis=1)]

    def features(self, link: str) -> str:
        """The name of the local features of a link with an embedding, empty without any."""
        outcome = self._outcomes.get(key_of(link))
        if not isinstance(outcome, int):
            return ""
        name = os.pread(self._file.fileno(), NAME_BYTES, outcome * self._bytes + self._vector_bytes)
        return name.hex() if any(name) else ""

    def add(self, link: str, embeddings: NDArray[np.float32], features: str = "") -> None:
        """Keeps embeddings [N,D], as precisely as the catalog does (float16), and the name of the local features."""
        self.add_key(key_of(link), embeddings, features)

    def add_key(self, key: bytes, embeddings: NDArray[np.float32] | NDArray[np.float16], features: str = "") -> None:
        """As `add`, for the link whose `key_of` is `key`."""
        vectors = embeddings.astype(np.float16).tobytes().ljust(self._vector_bytes, b"\0")
        stored = vectors + bytes.fromhex(features).ljust(NAME_BYTES, b"\0")
        if self._file.write(stored) != len(stored):
            raise OSError(errno.ENOSPC, "no room for the embeddings next to the catalog")
        self._outcomes[key] = self._count
        self._count += 1

    def fail(self, link: str, reason: str) -> None:
        """Keeps why a link cannot be read."""
        self.fail_key(key_of(link), reason)

    def fail_key(self, key: bytes, reason: str) -> None:
        """As `fail`, for the link whose `key_of` is `key`."""
        self._outcomes[key] = reason


def key_of(link: str) -> bytes:
    """A short name of a link that no other link shares."""
    return blake2b(link.encode("utf-8", "surrogatepass"), digest_size=16).digest()
