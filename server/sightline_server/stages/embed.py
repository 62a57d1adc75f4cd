"""Checks of the embedder's answer before it is searched.

Rule: pure. The call itself goes through the crops batcher; a batch holds crops of many callers, so what is wrong with
one crop's embedding is found in its own caller's task (`usable`) and affects no other caller.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError


def split_embeddings(answer: Mapping[str, NDArray[Any]], batch: int, spec: EmbedderSpec) -> NDArray[np.float32]:
    """The embeddings float32 [batch,dimension] of the embedder's answer, whatever their values.

    Raises `SightlineError` of kind MODEL_ANSWER when the shape is off.
    """
    return split_vectors(answer, batch, spec.dimension, "embedder")


def split_vectors(answer: Mapping[str, NDArray[Any]], batch: int, dimension: int, model: str) -> NDArray[np.float32]:
    """The embeddings float32 [batch,dimension] of a model's answer; errors call it `model`. See `split_embeddings`."""
    embeddings = answer["EMBEDDINGS"]
    if embeddings.shape != (batch, dimension):
        raise SightlineError(ErrorKind.MODEL_ANSWER, f"the {model}'s answer has the wrong shape")
    return embeddings.astype(np.float32, copy=False)


def usable(embedding: NDArray[np.float32]) -> bool:
    """Returns whether an embedding float32 [dimension] can be searched: all of it is finite."""
    return bool(np.isfinite(embedding).all())


def check_embeddings(answer: Mapping[str, NDArray[Any]], batch: int, spec: EmbedderSpec) -> NDArray[np.float32]:
    """`split_embeddings` of an answer that all belongs to one caller.

    Raises `SightlineError` of kind MODEL_ANSWER when the shape is off or a value is not finite.
    """
    embeddings = split_embeddings(answer, batch, spec)
    if not usable(embeddings):
        raise SightlineError(ErrorKind.MODEL_ANSWER, "the embedder's answer is not finite")
    return embeddings
