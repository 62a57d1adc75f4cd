"""Embeddings that callers made: the checks that searches and written products share.

Rule: an error names the field, and holds no number of the vector.
"""

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.models import EmbedderSpec
from sightline_server.rpc.refusals import invalid

LENGTH_TOLERANCE = 4e-3
"""Largest deviation of the length of a ready embedding from 1."""


def names(embedder: str, spec: EmbedderSpec) -> bool:
    """Returns whether a request means the embedder `spec` by `embedder`: its identity, also with the whole digest."""
    return embedder in (spec.identity, f"{spec.name}@{spec.sha256}")


def check_vector(field: str, vector: NDArray[np.float32]) -> None:
    """Checks that a vector float32 [D] is finite and of length 1. Raises `SightlineError` that names `field`."""
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(length):
        raise invalid(field, "a number is not finite")
    if abs(length - 1.0) > LENGTH_TOLERANCE:
        raise invalid(field, "the vector is not of length 1 (L2): divide it by its length")
