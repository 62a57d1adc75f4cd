"""The kinds of approximate index that are tried, cheapest to build first. Pure.

Rule: a candidate only proposes rows. Their similarities are computed from the catalog's own vectors afterwards, so that
scores do not depend on the index.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sightline_server.errors import ErrorKind, SightlineError

REDUCED = 256
"""Numbers of a vector after the reduction by a principal component analysis."""
TRAIN_PER_LIST = 64
"""Vectors per inverted list that the training sees; FAISS asks for 39 at least."""
LEAST_PER_LIST = 39
GRAPH_LINKS = 16
LIST_EFFORTS = (8, 16, 32, 64, 128, 256)
GRAPH_EFFORTS = (32, 64, 128, 256, 512)


class Family(Enum):
    """The structure of an index."""

    LISTS = "lists"
    """Inverted lists; effort is the number of lists that a search reads (`nprobe`)."""
    GRAPH = "graph"
    """A navigable graph; effort is the number of vectors that a search keeps in view (`efSearch`)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One kind of index. `code` is how a vector is stored, in the words of FAISS's factory.

    `widen` is the number of rows that it is asked for per row wanted, before they are compared again. `reduced` is the
    number of principal components, 0 for none.
    """

    name: str
    family: Family
    code: str
    widen: int
    reduced: int = 0
    gpu: bool = False

    @property
    def efforts(self) -> tuple[int, ...]:
        """The efforts that are tried, least first."""
        return LIST_EFFORTS if self.family is Family.LISTS else GRAPH_EFFORTS

    def applies(self, dimension: int) -> bool:
        """Returns whether vectors of `dimension` numbers are long enough for the reduction."""
        return dimension > self.reduced

    def factory(self, rows: int, dimension: int) -> str:
        """The text for FAISS's factory on the CPU, over `rows` vectors of `dimension` numbers."""
        structure = f"IVF{lists_of(rows)}" if self.family is Family.LISTS else f"HNSW{GRAPH_LINKS}"
        return ",".join(filter(None, (self._rotation(dimension), structure, self.code)))

    def _rotation(self, dimension: int) -> str:
        if self.reduced:
            return f"PCAR{self.reduced}"
        # RaBitQ keeps one bit of each number, which is worth the same only after a random rotation.
        return f"RR{dimension}" if self.code.startswith("RaBitQ") else ""


def lists_of(rows: int) -> int:
    """The number of inverted lists: the power of two next to twice the square root of `rows`."""
    wanted = 1 << round(math.log2(2 * math.sqrt(rows)))
    return max(1, min(wanted, rows // LEAST_PER_LIST))


CPU = (
    Candidate("ivf-rabitq", Family.LISTS, "RaBitQ", widen=4),
    Candidate("ivf-sq8", Family.LISTS, "SQ8", widen=1),
    Candidate("pca-ivf-rabitq", Family.LISTS, "RaBitQ", widen=4, reduced=REDUCED),
    Candidate("pca-ivf-sq8", Family.LISTS, "SQ8", widen=1, reduced=REDUCED),
    Candidate("pca-hnsw-sq8", Family.GRAPH, "SQ8", widen=1, reduced=REDUCED),
    Candidate("hnsw-sq8", Family.GRAPH, "SQ8", widen=1),
)
GPU = (
    Candidate("gpu-ivf-pq", Family.LISTS, "PQ", widen=4, gpu=True),
    Candidate("gpu-cagra", Family.GRAPH, "CAGRA", widen=1, gpu=True),
)
"""Those of FAISS with cuVS."""
BY_NAME = {each.name: each for each in (*CPU, *GPU)}


def named(names: Sequence[str]) -> tuple[Candidate, ...]:
    """The candidates of `names`. Raises `SightlineError` of kind CONFIGURATION for an unknown name."""
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        message = f"there is no index {unknown[0]!r} to try; expected some of {', '.join(BY_NAME)}"
        raise SightlineError(ErrorKind.CONFIGURATION, message)
    return tuple(BY_NAME[name] for name in dict.fromkeys(names))


def applicable(dimension: int, *, gpu: bool) -> tuple[Candidate, ...]:
    """The candidates to try on vectors of `dimension` numbers."""
    return tuple(each for each in (GPU if gpu else CPU) if each.applies(dimension))
