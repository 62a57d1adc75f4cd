"""Does an index apply a filter, ignore it, or refuse it? Asked of every kind that this FAISS can make.

Rule: the answer is judged by the ids that come back, never by the absence of an error: plain GPU indexes have taken a
selector and ignored it (faiss#3924).
"""

from collections.abc import Callable, Mapping
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from load_tests.gpu.vectors import unit_queries

ROWS, DIMENSION, LISTS, K = 20_000, 64, 32, 10
GPU: Any = faiss
"""The same module; the CPU wheel's types lack the names of the GPU's."""


def filters(resources: Any) -> dict[str, str]:
    """Kind of index -> `applied`, `ignored`, or why it refused; on the GPU of `resources`, or on the CPU."""
    vectors = unit_queries(ROWS, DIMENSION, seed=5)
    return {name: verdict(make, vectors) for name, make in kinds(resources).items()}


def verdict(make: Callable[[], Any], vectors: NDArray[np.float32]) -> str:
    """The behaviour of one kind of index with a selector that allows every tenth vector."""
    allowed = np.arange(0, len(vectors), 10, dtype=np.int64)
    try:
        index, parameters = make()
        index.train(vectors)
        if not index.ntotal:  # a graph is whole once it is trained
            index.add(vectors)
        parameters.sel = selector = faiss.IDSelectorBatch(allowed)
        _, rows = index.search(vectors[1:17], K, params=parameters)
        del selector
    except Exception as error:  # whatever a wheel cannot do, it says in its own way
        return f"refused: {str(error).splitlines()[0][:200]}"
    if np.isin(rows, allowed).all():
        return "applied, the same answer as the CPU" if same_as_cpu(vectors, allowed, rows) else "applied"
    return "ignored"


def same_as_cpu(vectors: NDArray[np.float32], allowed: NDArray[np.int64], rows: NDArray[np.int64]) -> bool:
    """Returns whether `rows` match an exact search of the allowed vectors on the CPU, apart from ties and float16."""
    scores = vectors[1:17] @ vectors[allowed].T
    exact = allowed[np.argsort(-scores, axis=1)[:, :K]]
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(rows, exact, strict=True)])) > 0.98


def kinds(resources: Any) -> Mapping[str, Callable[[], Any]]:
    """Kind -> maker of an index with its search parameters."""
    if resources is None:
        return {"IndexFlatIP": cpu_flat, "IndexIVFFlat": cpu_ivf}
    made: dict[str, Callable[[], Any]] = {
        "GpuIndexFlatIP float32": lambda: gpu_flat(resources, half=False),
        "GpuIndexFlatIP float16": lambda: gpu_flat(resources, half=True),
        "GpuIndexIVFFlat": lambda: gpu_ivf(resources),
    }
    if hasattr(faiss, "GpuIndexCagra"):
        made |= {
            "GpuIndexFlatIP float16, cuVS": lambda: gpu_flat(resources, half=True, cuvs=True),
            "GpuIndexIVFFlat, cuVS": lambda: gpu_ivf(resources, cuvs=True),
            "GpuIndexIVFPQ, cuVS": lambda: gpu_ivf_pq(resources),
            "GpuIndexCagra": lambda: gpu_cagra(resources),
        }
    return made


def cpu_flat() -> Any:
    return faiss.IndexFlatIP(DIMENSION), faiss.SearchParameters()


def cpu_ivf() -> Any:
    index = faiss.index_factory(DIMENSION, f"IVF{LISTS},Flat", faiss.METRIC_INNER_PRODUCT)
    return index, ivf_parameters()


def gpu_flat(resources: Any, *, half: bool, cuvs: bool = False) -> Any:
    config = GPU.GpuIndexFlatConfig()
    config.device, config.useFloat16, config.use_cuvs = 0, half, cuvs
    return GPU.GpuIndexFlatIP(resources, DIMENSION, config), faiss.SearchParameters()


def gpu_ivf(resources: Any, *, cuvs: bool = False) -> Any:
    config = GPU.GpuIndexIVFFlatConfig()
    config.device, config.use_cuvs = 0, cuvs
    index = GPU.GpuIndexIVFFlat(resources, DIMENSION, LISTS, faiss.METRIC_INNER_PRODUCT, config)
    return index, ivf_parameters()


def gpu_ivf_pq(resources: Any) -> Any:
    config = GPU.GpuIndexIVFPQConfig()
    config.device, config.use_cuvs = 0, True
    index = GPU.GpuIndexIVFPQ(resources, DIMENSION, LISTS, DIMENSION // 2, 8, faiss.METRIC_INNER_PRODUCT, config)
    return index, ivf_parameters()


def gpu_cagra(resources: Any) -> Any:
    config = GPU.GpuIndexCagraConfig()
    config.device = 0
    index = GPU.GpuIndexCagra(resources, DIMENSION, faiss.METRIC_INNER_PRODUCT, config)
    return index, GPU.SearchParametersCagra()


def ivf_parameters() -> Any:
    """Parameters that probe all lists, so that the answer is exact."""
    parameters = faiss.SearchParametersIVF()
    parameters.nprobe = LISTS
    return parameters
