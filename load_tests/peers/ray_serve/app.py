"""The search as a Ray Serve application: `python -m load_tests.peers.ray_serve.app`.

As its documentation advises: `@serve.batch` on the part that runs the models, a fixed number of replicas that fits the
cores, `max_ongoing_requests` above the batch, work off the event loop; with the layout `composed`, each model is a
deployment, called through its handle. Rule: only what Ray documents is used; cell and port come in the environment.
"""

import asyncio
import signal
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

from load_tests.peers.cells import COMPOSED, seat
from load_tests.peers.pipeline import Answer, Detector, Embedder, Pixels, Search, Steps
from sightline_server.stages.detect import RawDetections

PLACE = seat()
CELL = PLACE.cell
BATCH_WAIT_S = 0.01
ONGOING = 64
"""Calls that a replica may hold; above the batch size, or batches could never fill."""
STORE_BYTES = 200 * 1024 * 1024
# Replicas share two cores; Ray counts these as slots, it does not bind to them.
PLACES = {"num_cpus": 0.4}


class Whole:
    """All steps in each replica; batches are of photos."""

    def __init__(self) -> None:
        self._search = Search(PLACE.world, CELL.threads)

    @serve.batch(max_batch_size=CELL.batch, batch_wait_timeout_s=BATCH_WAIT_S)
    async def search(self, photos: list[bytes]) -> list[Answer]:
        """One answer a photo."""
        return await asyncio.to_thread(self._search.run, photos)

    async def __call__(self, request: Request) -> JSONResponse:
        """The answer to the photo in the body."""
        return JSONResponse(await self.search(await request.body()))


class DetectorService:
    """The detector; batches are of letterboxed images."""

    def __init__(self) -> None:
        self._detector = Detector(PLACE.world, CELL.threads)

    @serve.batch(max_batch_size=CELL.batch, batch_wait_timeout_s=BATCH_WAIT_S)
    async def detect(self, pictures: list[Pixels]) -> list[RawDetections]:
        """One answer per image uint8 [h,w,3]."""
        return await asyncio.to_thread(self._detector.run, np.stack(pictures))


class EmbedderService:
    """The embedder; batches are of the crops of several photos."""

    def __init__(self) -> None:
        self._embedder = Embedder(PLACE.world, CELL.threads)

    @serve.batch(max_batch_size=CELL.batch, batch_wait_timeout_s=BATCH_WAIT_S)
    async def embed(self, crops: list[Pixels]) -> list[NDArray[np.float32]]:
        """The embeddings [n,D] of each photo's crops uint8 [n,h,w,3]."""
        ends = np.cumsum([len(part) for part in crops])
        return np.split(await asyncio.to_thread(self._embedder.run, np.concatenate(crops)), ends[:-1])


class Front:
    """Everything around the models, which it calls through their handles."""

    def __init__(self, detector: Any, embedder: Any) -> None:
        self._steps = Steps(PLACE.world)
        self._detector, self._embedder = detector, embedder

    async def __call__(self, request: Request) -> JSONResponse:
        """The answer to the photo in the body."""
        opened = await asyncio.to_thread(self._steps.open, await request.body())
        raw = await self._detector.detect.remote(opened.seen.pixels)
        looked = await asyncio.to_thread(self._steps.look, opened, raw)
        embeddings = await self._embedder.embed.remote(looked.crops)
        return JSONResponse(await asyncio.to_thread(self._steps.answer, looked.objects, embeddings))


def application() -> Any:
    """The deployments of the cell's layout."""
    shared = {"max_ongoing_requests": ONGOING, "ray_actor_options": PLACES}
    model = serve.deployment(num_replicas=CELL.workers, **shared)
    if CELL.layout != COMPOSED:
        return model(Whole).bind()
    front = serve.deployment(num_replicas=1, **shared)
    return front(Front).bind(model(DetectorService).bind(), model(EmbedderService).bind())


def main() -> None:
    """Serves until it is stopped."""
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(PLACE.world / "ray"),
    )
    serve.start(http_options={"host": "127.0.0.1", "port": PLACE.port})
    serve.run(application(), route_prefix="/", blocking=False)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
