"""Training and filling a FAISS index of a candidate, and its search parameters.

Rule: part by part, with a limit of time, so that a build on a busy machine ends, and memory holds one part at a time.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from sightline_server.index.choice import gpu
from sightline_server.index.choice.candidates import TRAIN_PER_LIST, Candidate, Family, lists_of
from sightline_server.index.faiss_index import ADD_ROWS, unit_parts
from sightline_server.index.vectors import Vectors

SWIG: Any = faiss
LEAST_TRAINED = 16_384
TRAIN_ROUNDS = 8
QUERY_BITS = 8
"""Bits of each number of a query against RaBitQ's codes; with 0, float32, a search takes 25 times as long."""
GRAPH_BREADTH = 64
"""Vectors that are considered for the links of a new one (`efConstruction`)."""

Progress = Callable[[int], None]
"""Receives the number of vectors that were added."""


def silent(done: int) -> None:
    """No progress."""


def in_steps(total: int, show: Callable[[int], None], steps: int = 5) -> Progress:
    """Progress that calls `show` about `steps` times on the way to `total`."""
    shown = 0

    def progress(done: int) -> None:
        nonlocal shown
        if done * steps // total > shown and done < total:
            shown = done * steps // total
            show(done)

    return progress


class TooSlowError(Exception):
    """The build would take longer than its limit: about `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"about {seconds:.0f} s to build")
        self.seconds = seconds


def build(
    candidate: Candidate,
    vectors: Vectors,
    *,
    limit_s: float = float("inf"),
    progress: Progress = silent,
    threads: int = 0,
) -> Any:
    """The index of `candidate` over all `vectors` [V,D], by `threads` threads, 0 for all cores.

    Raises `TooSlowError`.
    """
    # A setting of the calling thread; an earlier search in it may have left another one.
    faiss.omp_set_num_threads(threads or os.cpu_count() or 1)
    if candidate.gpu:
        return gpu.build(candidate, vectors, sample(vectors))
    index = empty(candidate, vectors)
    index.train(sample(vectors))
    began, done = time.monotonic(), 0
    for part in unit_parts(vectors):
        index.add(part)
        done += len(part)
        progress(done)
        expected_s = (time.monotonic() - began) * len(vectors) / done
        if expected_s > limit_s and done < len(vectors):
            raise TooSlowError(expected_s)
    return index


def empty(candidate: Candidate, vectors: Vectors) -> Any:
    """The index of `candidate`, not trained. For vectors of length 1, L2 and inner product give the same order."""
    rows, dimension = vectors.shape
    index = SWIG.index_factory(dimension, candidate.factory(rows, dimension), SWIG.METRIC_L2)
    inner = innermost(index)
    if candidate.family is Family.LISTS:
        inner.cp.niter, inner.cp.max_points_per_centroid = TRAIN_ROUNDS, TRAIN_PER_LIST
        if candidate.code.startswith("RaBitQ"):
            inner.qb = QUERY_BITS
    else:
        inner.hnsw.efConstruction = GRAPH_BREADTH
    return index


def sample(vectors: Vectors) -> NDArray[np.float32]:
    """The vectors that the training sees: the same ones each time."""
    count = min(len(vectors), max(LEAST_TRAINED, TRAIN_PER_LIST * lists_of(len(vectors))))
    drawn = np.sort(np.random.default_rng(0).choice(len(vectors), count, replace=False))
    parts = [
        part for start in range(0, count, ADD_ROWS) for part in unit_parts(vectors[drawn[start : start + ADD_ROWS]])
    ]
    return np.concatenate(parts)


def innermost(index: Any) -> Any:
    """The index behind a rotation or reduction, as its own type."""
    if isinstance(index, SWIG.IndexPreTransform):
        return SWIG.downcast_index(index.index)
    return index


def parameters(index: Any, candidate: Candidate, effort: int, selector: Any = None) -> Any:
    """The parameters of one search of `index` with `effort`, over what `selector` lets through."""
    if candidate.gpu and candidate.family is Family.GRAPH:
        return gpu.graph_parameters(effort, selector)
    if candidate.family is Family.LISTS:
        inner = SWIG.SearchParametersIVF(sel=selector, nprobe=effort)
    else:
        inner = SWIG.SearchParametersHNSW(sel=selector, efSearch=effort)
    if isinstance(index, SWIG.IndexPreTransform):
        return SWIG.SearchParametersPreTransform(index_params=inner)
    return inner


def stored_bytes(index: Any) -> int:
    """Bytes that `index` holds, about."""
    inner = innermost(index)
    if hasattr(inner, "hnsw"):
        codes, links = SWIG.downcast_index(inner.storage), inner.hnsw.neighbors.size()
        return int(codes.ntotal * codes.sa_code_size() + 4 * links)
    code = int(inner.code_size) if hasattr(inner, "code_size") else 0
    return int(inner.ntotal) * (code + 8)


def to_bytes(index: Any) -> NDArray[np.uint8]:
    """`index` in FAISS's own format."""
    found: NDArray[np.uint8] = SWIG.serialize_index(index)
    return found


def from_bytes(data: NDArray[np.uint8]) -> Any:
    """The reverse of `to_bytes`. Raises `RuntimeError` for other bytes; only for data whose checksum is known."""
    return SWIG.deserialize_index(data)
