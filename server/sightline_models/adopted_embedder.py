"""An exported image tower as an embedder of the contract.

Place in the flow: `Exported` -> bytes of an ONNX file, CROPS uint8 [B, h, w, 3] -> EMBEDDINGS float32 [B, D] of length
1. The one rule: nodes are added before and after; the nodes of the tower itself stay as they were exported.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sightline_models.adoption import Normalization, Pool
from sightline_models.errors import ModelError
from sightline_models.exported import Exported, shape_text
from sightline_models.graph import Graph

_RANKS: Mapping[Pool, tuple[int, ...]] = {Pool.NONE: (2,), Pool.CLS: (3,), Pool.MEAN: (3, 4)}


def wrap_embedder(exported: Exported, normalization: Normalization, output: str | None, pool: Pool) -> bytes:
    """The bytes of the wrapped file.

    Args:
        output: name of the tower's output; None is the only one.

    Raises:
        ModelError: no such output, or a rank that `pool` does not fit.
    """
    name, answer = exported.answer("--output", output)
    if answer.ndim not in _RANKS[pool]:
        possible = [each.value for each in Pool if answer.ndim in _RANKS[each]]
        advice = f"use --pool {' or --pool '.join(possible)}" if possible else "name another output"
        shape = shape_text(answer)
        raise ModelError(f"{exported.path}: --pool {pool} does not fit output {name}, whose shape is {shape}; {advice}")
    graph, (value,) = exported.wrap("CROPS", normalization, [name])
    vector = _pooled(graph, value, pool, answer.ndim)
    unit = graph.node("LpNormalization", [vector], axis=1, p=2)
    dimension = answer.shape[1] if answer.ndim == 4 else answer.shape[-1]
    graph.output(unit, "EMBEDDINGS", np.float32, ["batch", dimension])
    return graph.serialize(exported.metadata(normalization, output=name, pool=pool.value))


def _pooled(graph: Graph, value: str, pool: Pool, rank: int) -> str:
    """The value as [B, D]."""
    if pool is Pool.CLS:
        return graph.node("Gather", [value, graph.constant(np.array(0, dtype=np.int64))], axis=1)
    if pool is Pool.MEAN:
        return graph.reduce("ReduceMean", value, [1] if rank == 3 else [2, 3])
    return value
