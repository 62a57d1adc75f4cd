"""A catalog's adapter: the space in which photos of its shop and its images are compared.

    query  [D] -> less the mean of photos, times a matrix, length 1 -> [scale * q, scale * beta, 1 - scale]
    image  [D] -> less the mean of images, times a matrix, length 1 -> [c, -(hubness - least hubness), 1]
Rule: the inner product of the two is the similarity, so an index searches adapted vectors as it searches any others:
`scale * (q.c - beta * hubness) + 1 - scale`. Hubness is how near an image is to photos in general: images that are near
to all of them come first for too many. Both constants are of the query, so that numbers of half precision hold images.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.half_floats import float32
from sightline_server.index.vectors import Search

Stored = NDArray[np.float16]
FURTHER = 2
"""Numbers of an adapted vector in addition to those of its space."""
KEY_BYTES = 8


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """The way of one kind of vectors into the space: less `mean` [D], times `matrix` [D,K], or K = D without one."""

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32] | None = None

    @property
    def dimension(self) -> int:
        """K."""
        return len(self.mean) if self.matrix is None else self.matrix.shape[1]

    def of(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors [N,D] of length 1 in the space, float32 [N,K] of length 1."""
        found: NDArray[np.float32] = vectors - self.mean
        if self.matrix is not None:
            found = found @ self.matrix
        return unit(found)


@dataclass(frozen=True, slots=True, eq=False)
class Hubness:
    """The hubness of images: that of those which were there at the fit, and an estimate for others.

    `keys` uint64 [M], ascending, name the images that were there, and `values` float32 [M] are theirs. The estimate is
    `weights` float32 [3] times (1, spread, offset), where photos have in the direction of the image the mean `offset`,
    by `mean` [K], and the standard deviation `spread`, by `factors` [K,R]. `least` bounds all of them.
    """

    keys: NDArray[np.uint64]
    values: NDArray[np.float32]
    mean: NDArray[np.float32]
    factors: NDArray[np.float32]
    weights: NDArray[np.float32]
    least: float

    def of(self, adapted: NDArray[np.float32], keys: NDArray[np.uint64]) -> NDArray[np.float32]:
        """The hubness of the images `adapted` [N,K] with `keys` [N], at least `least`."""
        found: NDArray[np.float32] = features(adapted, self.mean, self.factors) @ self.weights
        if len(self.keys):
            places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            found = np.where(self.keys[places] == keys, self.values[places], found)
        return np.maximum(found, np.float32(self.least))


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """An adapter for vectors of D numbers. `facts` say what it was fitted from; plain JSON."""

    photos: Side
    images: Side
    hubness: Hubness
    beta: float
    scale: float
    facts: Mapping[str, Any]

    @property
    def stored_dimension(self) -> int:
        """D."""
        return len(self.images.mean)

    @property
    def dimension(self) -> int:
        """The numbers of an adapted vector."""
        return self.images.dimension + FURTHER

    def of_queries(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embeddings [B,D] of photos as the queries of an index, float32 [B,dimension]."""
        return self._queries(self.photos.of(queries))

    def of_images(self, stored: Stored) -> NDArray[np.float32]:
        """Embeddings of images as a catalog stores them, [N,D], as vectors of an index, float32 [N,dimension]."""
        adapted = self.images.of(unit(float32(stored)))
        over = self.hubness.of(adapted, image_keys(stored)) - np.float32(self.hubness.least)
        return np.column_stack([adapted, -over, np.ones(len(adapted), np.float32)])

    def probes(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Queries [N,dimension] in the directions of vectors of an index [N,dimension]."""
        return self._queries(vectors[:, :-FURTHER])

    def _queries(self, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        scale = np.float32(self.scale)
        constants = np.array([scale * np.float32(self.beta), 1 - scale], np.float32)
        return np.column_stack([scale * directions, np.tile(constants, (len(directions), 1))])


class AdaptedRows:
    """`vectors.UnitRows` of stored vectors as `adapter` makes them; their length is not 1, and is not changed."""

    def __init__(self, adapter: Adapter, stored: Stored) -> None:
        self._adapter = adapter
        self._stored = stored
        self.shape = (len(stored), adapter.dimension)
        self.size = len(stored) * adapter.dimension

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """See `vectors.UnitRows`."""
        stored = self._stored[rows]
        flat = self._adapter.of_images(stored.reshape(-1, stored.shape[-1]))
        return flat.reshape(*stored.shape[:-1], self.shape[1])


class ReadyRows:
    """`vectors.UnitRows` of vectors float32 [V,K] that are adapted already."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors
        self.shape = (len(vectors), vectors.shape[1])
        self.size = vectors.size

    def __len__(self) -> int:
        return len(self._vectors)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """See `vectors.UnitRows`."""
        return self._vectors[rows].copy()


class AdaptedSearch:
    """`vectors.Search` by embeddings of photos over adapted vectors, which `search` holds."""

    def __init__(self, adapter: Adapter, search: Search) -> None:
        self._adapter = adapter
        self._search = search
        self.max_k = search.max_k

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `vectors.Search`."""
        return self._search.search(self._adapter.of_queries(queries), k)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors [N,K] with length 1; one of length 0 stays."""
    scaled: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled


def features(
    adapted: NDArray[np.float32], mean: NDArray[np.float32], factors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The facts of images [N,K] by which their hubness is estimated, float32 [N,3]; see `Hubness`."""
    spread = np.linalg.norm(adapted @ factors, axis=1)
    return np.column_stack([np.ones(len(adapted), np.float32), spread, adapted @ mean])


def image_keys(stored: Stored) -> NDArray[np.uint64]:
    """Numbers that name stored embeddings [N,D], uint64 [N]."""
    rows = np.ascontiguousarray(stored, "<f2")
    digests = b"".join(hashlib.blake2b(row.tobytes(), digest_size=KEY_BYTES).digest() for row in rows)
    return np.frombuffer(digests, "<u8").astype(np.uint64)
