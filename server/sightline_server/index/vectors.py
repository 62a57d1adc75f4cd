"""The seam between the catalog and the library that searches vectors.

Rule: an index is sealed when it is made, and every call comes from the one thread that owns it.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float16] | NDArray[np.float32]
"""V vectors of D numbers."""


class UnitRows(Protocol):
    """V vectors of D numbers in several arrays: float32 of length 1, copied when they are asked for."""

    @property
    def shape(self) -> tuple[int, int]:
        """V and D."""

    @property
    def size(self) -> int:
        """V times D."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Copies of the vectors of a range [N,D], or of row numbers of any shape [...,D]."""


VectorRows = Vectors | UnitRows


@dataclass(frozen=True, slots=True)
class LibraryFacts:
    """The vector library of this process: `flavour` is cpu, gpu or gpu-cuvs; `cannot` is human-readable."""

    flavour: str
    version: str
    gpus: int
    cannot: tuple[str, ...]

    def __str__(self) -> str:
        return f"FAISS {self.version} ({self.flavour}, {self.gpus} GPUs)"


class Search(Protocol):
    """A search over all or some of the vectors of an index."""

    @property
    def max_k(self) -> int:
        """The most vectors that one search returns per query."""

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As `VectorIndex.search`, over these vectors."""


class VectorIndex(Protocol):
    """V vectors of D numbers, searched by inner product."""

    @property
    def description(self) -> str:
        """Kind and device of the index, human-readable."""

    @property
    def exact(self) -> bool:
        """True if `search` compares every vector."""

    @property
    def max_k(self) -> int:
        """The most vectors that one search returns per query."""

    @property
    def memory_bytes(self) -> int:
        """About the bytes of memory that its vectors take, on whichever device, with all that finds them."""

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The `k` vectors nearest to each of `queries` [B,D]: similarities [B,k], descending, and rows [B,k].

        A row of -1 means that there was no further vector. `k` is at most `max_k`.
        """

    def search_allowed(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As `search`, over the vectors of which `allowed` [V] is true.

        An index may ignore `allowed` without an error, or raise: `applies_selectors` of `index/filters` finds out.
        """

    def subset(self, rows: NDArray[np.integer[Any]]) -> Search:
        """A search over copies of the vectors `rows` [N], which compares them all.

        Its row numbers are positions in `rows`. For the owner of the index only.
        """

    def adopt(self) -> None:
        """Makes the calling thread the owner; to be called when no other thread uses the index."""

    def close(self) -> None:
        """Frees the vectors."""
