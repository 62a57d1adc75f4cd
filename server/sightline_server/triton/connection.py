"""A connection to one living engine: its client, its models' specs, and how pixels reach each model.

Rule: a connection belongs to one incarnation of the engine; after a restart there is a new one.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.models import DetectorSpec, EmbedderSpec
from sightline_server.errors import SightlineError
from sightline_server.triton.client import InRegion, TritonClient
from sightline_server.triton.config import DETECTOR, EMBEDDER, MODELS, EngineConfig, EngineEvents
from sightline_server.triton.faults import Cause, EngineError
from sightline_server.triton.specs import (
    DETECTOR_CONTRACT,
    EMBEDDER_CONTRACT,
    Contract,
    read_detector,
    read_embedder,
    version_of,
)
from sightline_server.triton.tensors import Region, RegionPool

CONTRACTS: Mapping[str, Contract] = {DETECTOR: DETECTOR_CONTRACT, EMBEDDER: EMBEDDER_CONTRACT}
MAX_SHARED_BYTES = 256 << 20
CLOSE_TIMEOUT_S = 1.0
SAME_ANSWER = 1e-3
"""Largest difference between two answers to one input in the probe of shared memory; a GPU may not be deterministic."""

T = TypeVar("T")
Digest = Callable[[str, str], str]
"""(model, version) -> SHA-256 of the model's file, empty where it is not at hand."""


class Connection:
    """Runs batches on the models of one engine."""

    def __init__(
        self, client: TritonClient, config: EngineConfig, detector: DetectorSpec, embedder: EmbedderSpec
    ) -> None:
        """Use `connect`."""
        self.client = client
        self.detector = detector
        self.embedder = embedder
        self.transports: dict[str, str] = {DETECTOR: "inline", EMBEDDER: "inline"}
        self.sample_embedding: NDArray[np.float32] = np.empty(0, np.float32)
        """The embedding of the image that every connection begins with: it distinguishes embedders."""
        self._config = config
        self._calls: set[asyncio.Task[Any]] = set()
        self._pool = RegionPool(client, MAX_SHARED_BYTES)

    def sample_shape(self, model: str) -> tuple[int, int, int]:
        """The shape [H,W,3] of one image of `model`."""
        spec = self.detector if model == DETECTOR else self.embedder
        return spec.height, spec.width, 3

    def submit(
        self, model: str, parts: Sequence[NDArray[np.uint8]], queue_timeout_s: float | None
    ) -> asyncio.Task[Mapping[str, NDArray[Any]]]:
        """Begins a batch that runs to its end in Triton whether or not somebody still waits for it."""
        return self._begin(self._infer(model, parts, queue_timeout_s))

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        call = asyncio.create_task(work)
        self._calls.add(call)
        call.add_done_callback(self._ended)
        return call

    def _ended(self, call: asyncio.Task[Any]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            # Nobody may be waiting any more; the error has been seen.
            call.exception()

    async def _infer(
        self, model: str, parts: Sequence[NDArray[np.uint8]], queue_timeout_s: float | None
    ) -> Mapping[str, NDArray[Any]]:
        self._check_parts(model, parts)
        if self.transports[model] == "shm" and (region := await self._pool.acquire(sum(p.nbytes for p in parts))):
            return await self._infer_in_region(model, parts, region, queue_timeout_s)
        return await self._call(model, np.stack(parts), len(parts), queue_timeout_s)

    def _check_parts(self, model: str, parts: Sequence[NDArray[np.uint8]]) -> None:
        shape = self.sample_shape(model)
        if not parts or any(part.shape != shape or part.dtype != np.uint8 for part in parts):
            raise ValueError(f"{model} takes uint8 images of shape {shape}")

    async def _infer_in_region(
        self, model: str, parts: Sequence[NDArray[np.uint8]], region: Region, queue_timeout_s: float | None
    ) -> Mapping[str, NDArray[Any]]:
        ended = False
        try:
            place = InRegion(region.name, 0, region.fill(parts))
            answer = await self._call(model, place, len(parts), queue_timeout_s)
            ended = True
            return answer
        except EngineError as failure:
            ended = failure.ended
            raise
        finally:
            if ended:
                self._pool.release(region)
            else:
                self._pool.discard(region)

    async def _call(
        self, model: str, data: InRegion | NDArray[np.uint8], batch: int, queue_timeout_s: float | None
    ) -> Mapping[str, NDArray[Any]]:
        contract = CONTRACTS[model]
        answer = await self.client.infer(
            model,
            contract.input.name,
            (batch, *self.sample_shape(model)),
            data,
            [tensor.name for tensor in contract.outputs],
            queue_timeout_us=None if queue_timeout_s is None else max(1, int(queue_timeout_s * 1e6)),
            timeout_s=self._config.infer_timeout_s,
        )
        contract.check_answer(answer)
        return answer

    async def tiny_infer(self, model: str, timeout_s: float) -> None:
        """Runs one black image through the model. Raises `EngineError`, or `TimeoutError` after `timeout_s`."""
        image = np.zeros((1, *self.sample_shape(model)), np.uint8)
        async with asyncio.timeout(timeout_s):
            await self._call(model, image, 1, timeout_s)

    async def run_black(self, model: str, images: int) -> None:
        """Overwrites the engine's memory of a batch of `images`. Raises `EngineError`."""
        image = np.zeros(self.sample_shape(model), np.uint8)
        await self.submit(model, [image] * images, None)

    async def choose_transport(self, model: str) -> str:
        """Runs one pattern inline and in shared memory; shared memory is taken when both answers agree."""
        pattern = np.arange(np.prod(self.sample_shape(model)), dtype=np.uint32).astype(np.uint8)
        image = pattern.reshape(self.sample_shape(model))
        inline = await self._call(model, image[None], 1, None)
        if model == EMBEDDER:
            self.sample_embedding = inline["EMBEDDINGS"][0].copy()
        self.transports[model] = "inline"
        if self._config.shared_memory and (shared := await self._try_shared(model, image)) is not None:
            same = all(np.allclose(inline[name], shared[name], rtol=0, atol=SAME_ANSWER) for name in inline)
            self.transports[model] = "shm" if same else "inline"
        return self.transports[model]

    async def _try_shared(self, model: str, image: NDArray[np.uint8]) -> Mapping[str, NDArray[Any]] | None:
        try:
            region = await self._pool.acquire(image.nbytes)
            return await self._infer_in_region(model, [image], region, None) if region else None
        except SightlineError as error:
            if isinstance(error, EngineError) and error.cause is Cause.GIVEN_UP:
                raise
            # A Triton on another host cannot map the region and reports it with a message of its choice.
            return None

    def tidy(self) -> None:
        """Begins to free the shared memory that no call has needed for some seconds."""
        self._begin(self._pool.tidy())

    def forget_regions(self, prefix: str) -> None:
        """Makes Triton let go of the regions of another process that has ended, by their names' `prefix`.

        Their last pixels would stay mapped until the engine ends. What a call still reads goes with a later `tidy`.
        """
        self._pool.forget_others(prefix)
        self.tidy()

    async def close(self) -> None:
        """Ends the connection; calls under way fail with `Cause.GONE`."""
        with suppress(TimeoutError):
            # A frozen engine is to be killed, and does not answer before that.
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._pool.close()
        await self.client.close()
        if self._calls:
            await asyncio.wait(self._calls, timeout=CLOSE_TIMEOUT_S)


async def connect(
    client: TritonClient, config: EngineConfig, events: EngineEvents, digest: Digest, timeout_s: float
) -> Connection:
    """Reads and checks the models behind `client`, then runs each for real; the caller bounds the whole.

    The connection owns `client`, which is closed when this fails.
    """
    try:
        detector, embedder = await read_specs(client, digest, timeout_s)
    except BaseException:
        await client.close()
        raise
    made = Connection(client, config, detector, embedder)
    try:
        for model in MODELS:
            with telling_of_giving_up(model, events):
                events.transport(model, await made.choose_transport(model))
    except BaseException:
        await made.close()
        raise
    return made


@contextmanager
def telling_of_giving_up(model: str, events: EngineEvents) -> Iterator[None]:
    """Says so when Triton turns out to have given `model` up: who only connects to it cannot start it again."""
    try:
        yield
    except EngineError as error:
        if error.cause is Cause.GIVEN_UP:
            events.given_up(model)
        raise


async def read_specs(client: TritonClient, digest: Digest, timeout_s: float) -> tuple[DetectorSpec, EmbedderSpec]:
    """The specifications of both models, from Triton and the model files."""
    facts: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {}
    for model in MODELS:
        metadata = await client.metadata(model, timeout_s)
        live = await client.config(model, timeout_s)
        facts[model] = metadata, live, await asyncio.to_thread(digest, model, version_of(metadata))
    return read_detector(DETECTOR, *facts[DETECTOR]), read_embedder(EMBEDDER, *facts[EMBEDDER])
