"""Does the index find what the catalog holds? Asked before it serves.

Rule: an index is believed for its answers, not for its health: probes are vectors of the catalog, and the truth is a
plain matrix product over all of them.
"""

from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.adapter import Adapter
from sightline_server.index.half_floats import float32
from sightline_server.index.vectors import VectorIndex, VectorRows, Vectors

PROBES = 16
NEAREST = 10
PART_ROWS = 8192
SMALL_ROWS = 1024
"""Fewer vectors are compared with 16 probes without BLAS, whose threads take longer to agree than the work takes
(measured on two busy cores: 56 ms instead of 2 ms for 100 x 1280)."""
TOLERANCE = 2e-3
"""Of a similarity, for indexes that store float16."""


def recall(index: VectorIndex, vectors: VectorRows, adapter: Adapter | None = None) -> float:
    """Recall@10 of `index` against exact search, over 16 probes spread through `vectors` [V,D]; 0..1.

    A found vector counts when it is as near as the tenth truly nearest, so equal vectors may stand for each other; a
    probe that does not find itself counts as nothing found; of vectors that `adapter` has made, another one may come
    before it.
    """
    probes = vectors[np.linspace(0, len(vectors) - 1, min(PROBES, len(vectors)), dtype=np.int64)].astype(np.float32)
    if adapter is not None:
        probes = adapter.probes(probes)
    else:
        probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    k = min(NEAREST, len(vectors), index.max_k)
    similarities, rows = index.search(probes, k)
    tenth = nearest_similarities(probes, vectors, k)[:, -1:]
    true = np.einsum("bd,bkd->bk", probes, vectors[np.maximum(rows, 0)].astype(np.float32))
    honest = (rows >= 0) & (np.abs(true - similarities) < TOLERANCE)
    found = honest & (true >= tenth - TOLERANCE)
    itself = (similarities[:, :1] >= 1.0 - TOLERANCE) | (adapter is not None)
    return float(np.mean(found & itself))


def nearest_similarities(probes: NDArray[np.float32], vectors: VectorRows, k: int) -> NDArray[np.float32]:
    """The `k` highest similarities of each probe, descending, float32 [B,k]."""
    best = np.empty((len(probes), 0), np.float32)
    for start in range(0, len(vectors), PART_ROWS):
        part = inner_products(probes, as_float32(vectors[start : start + PART_ROWS]))
        both = np.concatenate([best, part], axis=1)
        best = np.partition(both, -k, axis=1)[:, -k:] if both.shape[1] > k else both
    return -np.sort(-best, axis=1)


def as_float32(vectors: Vectors) -> NDArray[np.float32]:
    """The vectors as float32, which are copied only where they are not."""
    return vectors if is_float32(vectors) else float32(vectors)


def is_float32(vectors: Vectors) -> TypeGuard[NDArray[np.float32]]:
    """Returns whether the numbers of `vectors` are float32."""
    return vectors.dtype == np.float32


def inner_products(probes: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Those of each probe [B,D] with each vector [V,D], [B,V]."""
    if len(probes) * len(vectors) >= PROBES * SMALL_ROWS:
        return probes @ vectors.T
    found: NDArray[np.float32] = np.einsum("bd,vd->bv", probes, vectors)
    return found
