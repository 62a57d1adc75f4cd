"""What the embedder's answer must be before it is searched.

Rule: pure. The call itself goes through the crops batcher.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError


def check_embeddings(answer: Mapping[str, NDArray[Any]], batch: int, spec: EmbedderSpec) -> NDArray[np.float32]:
    """The embeddings float32 [batch,dimension] of the embedder's answer.

    Raises `SightlineError` of kind MODEL_ANSWER when the shape is off or a value is not finite.
    """
    embeddings = answer["EMBEDDINGS"]
    if embeddings.shape != (batch, spec.dimension):
        raise SightlineError(ErrorKind.MODEL_ANSWER, "the embedder's answer has the wrong shape")
    if not np.isfinite(embeddings).all():
        raise SightlineError(ErrorKind.MODEL_ANSWER, "the embedder's answer is not finite")
    return embeddings.astype(np.float32, copy=False)
