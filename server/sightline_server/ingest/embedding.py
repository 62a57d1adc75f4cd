"""Pictures -> embeddings, through the engine that also serves.

Rule: a catalog picture takes the very steps of a query photo (`stages/`), so that equal pixels meet equal vectors.
"""

from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.geometry import Box
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import SightlineError
from sightline_server.ingest.images import UnreadableImageError
from sightline_server.ports import Engine
from sightline_server.stages.crop import crop
from sightline_server.stages.decode import DecodeLimits, decode
from sightline_server.stages.embed import check_embeddings

Embed = Callable[[Sequence[NDArray[np.uint8]]], Awaitable[NDArray[np.float32]]]
"""Crops, each uint8 [h,w,3], to embeddings float32 [B,D], L2-normalised; any number of them."""

BATCH = 32


def engine_embed(engine: Engine) -> Embed:
    """`Embed` by the engine's embedder, in batches that it takes."""
    runner, spec = engine.runner("embedder"), engine.embedder
    size = min(BATCH, spec.max_batch_size) if spec.max_batch_size else BATCH

    async def embed(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(crops), size):
            batch = crops[start : start + size]
            answer = await runner.infer(batch, deadline=None)
            parts.append(check_embeddings(answer, len(batch), spec))
        return np.concatenate(parts)

    return embed


def catalog_crop(photo: bytes, limits: DecodeLimits, spec: EmbedderSpec) -> NDArray[np.uint8]:
    """The whole picture at the embedder's input size, uint8 [h,w,3]. Raises `UnreadableImageError`."""
    try:
        return crop(decode(photo, limits), Box.whole(), spec).pixels
    except SightlineError as error:
        raise UnreadableImageError(error.message) from error
