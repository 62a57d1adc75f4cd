"""Indexes on a GPU by FAISS with cuVS: inverted lists with product quantization, and CAGRA graphs.

Rule: as every candidate they serve only when they were measured, so a kind that the library cannot build, or that finds
too little, is never chosen. On an H200 both were right (docs/record/lab).
"""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from sightline_server.index.choice.candidates import Candidate, Family, lists_of
from sightline_server.index.faiss_index import gpu_resources, unit_parts
from sightline_server.index.vectors import Vectors

SWIG: Any = faiss
NUMBERS_PER_CODE = 4
"""Numbers of a vector in one byte of its code."""
LARGEST_CODE = 96
"""Bytes of a code that FAISS's kernels without cuVS take at most."""
LINKS, LINKS_BEFORE = 64, 128
SAMPLINGS = 8
"""Random starts of a search in a graph; with one, it found 60 % in catalogs above 100,000 (cuvs#2102)."""


def build(candidate: Candidate, vectors: Vectors, sample: NDArray[np.float32]) -> Any:
    """The index of `candidate` over all `vectors` [V,D], on GPU 0, by the thread that is to own it."""
    rows, dimension = vectors.shape
    if candidate.family is Family.GRAPH:
        config = SWIG.GpuIndexCagraConfig()
        config.device, config.graph_degree, config.intermediate_graph_degree = 0, LINKS, LINKS_BEFORE
        index = SWIG.GpuIndexCagra(gpu_resources(), dimension, SWIG.METRIC_L2, config)
        # A graph is made of all vectors at once.
        index.train(np.concatenate(list(unit_parts(vectors))))
        return index
    config = SWIG.GpuIndexIVFPQConfig()
    config.device, config.use_cuvs = 0, True
    code = min(LARGEST_CODE, max(1, dimension // NUMBERS_PER_CODE))
    code = next(size for size in range(code, 0, -1) if dimension % size == 0)
    index = SWIG.GpuIndexIVFPQ(gpu_resources(), dimension, lists_of(rows), code, 8, SWIG.METRIC_L2, config)
    index.train(sample)
    for part in unit_parts(vectors):
        index.add(part)
    return index


def graph_parameters(effort: int, selector: Any) -> Any:
    """The parameters of one search in a graph that keeps `effort` vectors in view."""
    found = SWIG.SearchParametersCagra()
    found.itopk_size, found.num_random_samplings, found.sel = effort, SAMPLINGS, selector
    return found
