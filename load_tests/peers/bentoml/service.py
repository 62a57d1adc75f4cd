"""The search as BentoML services: `bentoml serve service:Lens` or `service:Front` in this folder.

As its documentation advises: `batchable` APIs with a largest batch and a largest latency, workers for the cores; with
the layout `composed`, a service for each model that the front depends on. Rule: only what BentoML documents is used;
the cell comes through the environment.
"""

import asyncio
import base64
from typing import Any

import bentoml
import numpy as np

from load_tests.peers.cells import seat
from load_tests.peers.pipeline import Detector, Embedder, Search, Steps

PLACE = seat()
CELL = PLACE.cell
TIMEOUT_S = 10
MAX_LATENCY_MS = 1000 * TIMEOUT_S
"""BentoML refuses what it expects to take longer. The callers' own deadline of 2 s here made it slower, not calmer."""


def batched(largest: int) -> dict[str, Any]:
    """The options of an API that takes up to `largest` at once; BentoML has no batches of one."""
    if CELL.batch == 1:
        return {}
    return {"batchable": True, "batch_dim": 0, "max_batch_size": largest, "max_latency_ms": MAX_LATENCY_MS}


@bentoml.service(workers=CELL.workers, traffic={"timeout": TIMEOUT_S})
class Lens:
    """All steps in each worker; batches are of photos."""

    def __init__(self) -> None:
        self._search = Search(PLACE.world, CELL.threads)

    @bentoml.api(**batched(CELL.batch))
    def search(self, photos: list[str]) -> list[dict[str, Any]]:
        """One answer for each photo, which comes in base64: a batchable API takes a list, and a list is JSON."""
        return self._search.run([base64.b64decode(photo) for photo in photos])


@bentoml.service(workers=CELL.workers, traffic={"timeout": TIMEOUT_S})
class DetectorService:
    """The detector; batches are of letterboxed images."""

    def __init__(self) -> None:
        self._detector = Detector(PLACE.world, CELL.threads)

    @bentoml.api(**batched(CELL.batch))
    def detect(self, pictures: np.ndarray) -> list[Any]:
        """One answer for each of uint8 [B,h,w,3]."""
        return self._detector.run(pictures)


@bentoml.service(workers=CELL.workers, traffic={"timeout": TIMEOUT_S})
class EmbedderService:
    """The embedder; batches are of the crops of several photos, so the largest batch is a multiple of the photos."""

    def __init__(self) -> None:
        self._embedder = Embedder(PLACE.world, CELL.threads)

    @bentoml.api(**batched(8 * CELL.batch))
    def embed(self, crops: np.ndarray) -> np.ndarray:
        """The embeddings [B,D] of crops uint8 [B,h,w,3]."""
        return self._embedder.run(crops)


@bentoml.service(workers=1, traffic={"timeout": TIMEOUT_S})
class Front:
    """Everything around the models, which it calls as services that it depends on."""

    detector = bentoml.depends(DetectorService)
    embedder = bentoml.depends(EmbedderService)

    def __init__(self) -> None:
        self._steps = Steps(PLACE.world)

    @bentoml.api
    async def search(self, photos: list[str]) -> list[dict[str, Any]]:
        """One answer for each photo in base64, as `Lens` takes them."""
        return list(await asyncio.gather(*(self._one(base64.b64decode(photo)) for photo in photos)))

    async def _one(self, photo: bytes) -> dict[str, Any]:
        opened = await asyncio.to_thread(self._steps.open, photo)
        (raw,) = await self.detector.to_async.detect(pictures=opened.seen.pixels[None])
        looked = await asyncio.to_thread(self._steps.look, opened, raw)
        embeddings = await self.embedder.to_async.embed(crops=looked.crops)
        return await asyncio.to_thread(self._steps.answer, looked.objects, embeddings)
