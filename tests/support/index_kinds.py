"""Every type of index, made over vectors as the server makes its own; some of them lie about filters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from sightline_server.index.choice import approximate
from sightline_server.index.choice.building import build
from sightline_server.index.choice.candidates import BY_NAME, applicable
from sightline_server.index.faiss_index import FaissIndex, FlatIndex, MappedIndex
from sightline_server.index.vectors import VectorIndex
from tests.support.catalogs import DIMENSION

SWIG: Any = faiss


class IgnoringIndex(FlatIndex):
    """As the plain GPU indexes of FAISS: takes a selector and ignores it, without an error."""

    def search_allowed(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return self.search(queries, k)


class RefusingIndex(FlatIndex):
    """As an index type that raises for a selector."""

    def search_allowed(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        raise RuntimeError("search with params not supported")


class ApproximateIndex(FlatIndex):
    """One that does not compare every vector."""

    exact = False


def flat(vectors: NDArray[np.float32], folder: Path) -> FlatIndex:
    return FaissIndex(vectors, use_gpu=False)


def mapped(vectors: NDArray[np.float32], folder: Path) -> FlatIndex:
    FaissIndex(vectors, use_gpu=False).write(folder / "vectors")
    return MappedIndex(folder / "vectors", sharers=1)


def of_kind(kind: str, wrap: type[FlatIndex] = ApproximateIndex) -> Callable[[NDArray[np.float32], Path], FlatIndex]:
    """A maker of FAISS's index `kind`, wrapped as the server wraps its own."""

    def make(vectors: NDArray[np.float32], folder: Path) -> FlatIndex:
        index = SWIG.index_factory(DIMENSION, kind, SWIG.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
        if kind.startswith("IVF"):
            index.nprobe = 4
            index.make_direct_map()
        return wrap(index, place="test", max_k=len(vectors), threads=1)

    return make


def candidate_of(name: str) -> Callable[[NDArray[np.float32], Path], VectorIndex]:
    """A maker of an index that the choice tries, as it is served."""

    def make(vectors: NDArray[np.float32], folder: Path) -> VectorIndex:
        candidate = BY_NAME[name]
        return approximate.ApproximateIndex(build(candidate, vectors), vectors, candidate, candidate.efforts[0])

    return make


KINDS: dict[str, tuple[Callable[[NDArray[np.float32], Path], VectorIndex], bool, bool]] = {
    "flat": (flat, True, True),
    "mapped": (mapped, True, True),
    "ignores selectors": (of_kind("Flat", IgnoringIndex), False, True),
    "refuses selectors": (of_kind("Flat", RefusingIndex), False, True),
    "IVF": (of_kind("IVF4,Flat"), True, True),
    "HNSW": (of_kind("HNSW16,Flat"), True, False),
    "SQ8": (of_kind("SQ8"), True, False),
    "RaBitQ": (of_kind("IVF4,RaBitQ"), True, False),
    **{candidate.name: (candidate_of(candidate.name), True, False) for candidate in applicable(DIMENSION, gpu=False)},
}
"""Kind -> maker, whether it applies selectors, whether its answers are exact (IVF is with all of its lists probed)."""
