"""A connection to one living engine: its client, its models' specs, and the transport of pixels to each model.

Rule: a connection belongs to one incarnation of the engine; after a restart there is a new one.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.models import ModelSpec
from sightline_server.errors import SightlineError
from sightline_server.triton.client import InputTensor, InRegion, TritonClient
from sightline_server.triton.config import EngineConfig, EngineEvents
from sightline_server.triton.faults import Cause, EngineError
from sightline_server.triton.queueing import warn_of_waits
from sightline_server.triton.specs import DTYPES, Contract, ServedModel, check, version_of
from sightline_server.triton.tensors import Region, RegionPool

MAX_SHARED_BYTES = 256 << 20
CLOSE_TIMEOUT_S = 1.0
SAME_ANSWER = 1e-3
"""Largest difference between two answers to one input in the probe of shared memory; a GPU may not be deterministic."""

T = TypeVar("T")
Items = Mapping[str, Sequence[NDArray[Any]]]
"""For each input of a model one array for each item of the batch."""
Digest = Callable[[str, str], str]
"""(model, version) -> SHA-256 of the model's file, empty where it is not available."""


@dataclass(frozen=True, slots=True)
class ConnectedModel:
    """A model behind a connection: its contract, its specification, and the shape of one item of each input."""

    contract: Contract
    spec: ModelSpec
    shapes: Mapping[str, tuple[int, ...]]

    def black(self, count: int) -> Items:
        """A batch of `count` items that are zero."""
        return {
            tensor.name: [np.zeros(self.shapes[tensor.name], DTYPES[tensor.datatype])] * count
            for tensor in self.contract.inputs
        }

    def pattern(self) -> Items:
        """A batch of one item whose values differ."""
        return {
            tensor.name: [np.resize(np.arange(256, dtype=np.uint8), shape).astype(DTYPES[tensor.datatype])]
            for tensor, shape in zip(self.contract.inputs, self.shapes.values(), strict=True)
        }

    def check(self, items: Items) -> None:
        """Raises `ValueError` for items that the model does not take."""
        counts = {len(parts) for parts in items.values()}
        if items.keys() != self.shapes.keys() or len(counts) != 1 or counts == {0}:
            raise ValueError(f"expected as many items, at least one, of each of {sorted(self.shapes)}")
        for tensor in self.contract.inputs:
            shape, dtype = self.shapes[tensor.name], DTYPES[tensor.datatype]
            if any(part.shape != shape or part.dtype != dtype for part in items[tensor.name]):
                raise ValueError(f"{tensor.name} takes {tensor.datatype} items of shape {shape}")

    @property
    def takes_pixels(self) -> bool:
        """True where the only input is bytes, which may go through shared memory."""
        return [tensor.datatype for tensor in self.contract.inputs] == ["UINT8"]


class Connection:
    """Runs batches on the models of one engine."""

    def __init__(self, client: TritonClient, config: EngineConfig, models: Mapping[str, ConnectedModel]) -> None:
        """Use `connect`."""
        self.client = client
        self.models = models
        self.transports: dict[str, str] = dict.fromkeys(models, "inline")
        self.sample_embeddings: dict[str, NDArray[np.float32]] = {}
        """Answers of embedders and text encoders to the input that each connection begins with: they identify them."""
        self._config = config
        self._calls: set[asyncio.Task[Any]] = set()
        self._pool = RegionPool(client, MAX_SHARED_BYTES)

    def submit(
        self, model: str, items: Items, queue_timeout_s: float | None
    ) -> asyncio.Task[Mapping[str, NDArray[Any]]]:
        """Begins a batch that runs to its end in Triton whether or not its caller still waits for it."""
        return self._begin(self._infer(model, items, queue_timeout_s))

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        call = asyncio.create_task(work)
        self._calls.add(call)
        call.add_done_callback(self._ended)
        return call

    def _ended(self, call: asyncio.Task[Any]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            # No caller may be waiting any more; the error counts as seen.
            call.exception()

    async def _infer(self, model: str, items: Items, queue_timeout_s: float | None) -> Mapping[str, NDArray[Any]]:
        self.models[model].check(items)
        if self.transports[model] == "shm":
            (parts,) = items.values()
            if region := await self._pool.acquire(sum(part.nbytes for part in parts)):
                return await self._infer_in_region(model, parts, region, queue_timeout_s)
        return await self._infer_inline(model, items, queue_timeout_s)

    async def _infer_inline(
        self, model: str, items: Items, queue_timeout_s: float | None
    ) -> Mapping[str, NDArray[Any]]:
        whole = {name: np.stack(parts) for name, parts in items.items()}
        return await self._call(model, whole, len(next(iter(whole.values()))), queue_timeout_s)

    async def _infer_in_region(
        self, model: str, parts: Sequence[NDArray[Any]], region: Region, queue_timeout_s: float | None
    ) -> Mapping[str, NDArray[Any]]:
        ended = False
        (name,) = self.models[model].shapes
        try:
            place = InRegion(region.name, 0, region.fill(parts))
            answer = await self._call(model, {name: place}, len(parts), queue_timeout_s)
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
        self, model: str, data: Mapping[str, InRegion | NDArray[Any]], batch: int, queue_timeout_s: float | None
    ) -> Mapping[str, NDArray[Any]]:
        called = self.models[model]
        answer = await self.client.infer(
            model,
            [
                InputTensor(each.name, each.datatype, (batch, *called.shapes[each.name]), data[each.name])
                for each in called.contract.inputs
            ],
            [tensor.name for tensor in called.contract.outputs],
            queue_timeout_us=None if queue_timeout_s is None else max(1, int(queue_timeout_s * 1e6)),
            timeout_s=self._config.infer_timeout_s,
        )
        called.contract.check_answer(answer)
        return answer

    async def tiny_infer(self, model: str, timeout_s: float) -> None:
        """Runs one item of zeros through the model. Raises `EngineError`, or `TimeoutError` after `timeout_s`."""
        async with asyncio.timeout(timeout_s):
            await self._infer_inline(model, self.models[model].black(1), timeout_s)

    async def run_black(self, model: str, count: int) -> None:
        """Overwrites the engine's memory of a batch of `count` items. Raises `EngineError`."""
        await self.submit(model, self.models[model].black(count), None)

    async def choose_transport(self, model: str) -> str:
        """Runs one pattern inline and in shared memory; shared memory is taken when both answers agree."""
        pattern = self.models[model].pattern()
        inline = await self._infer_inline(model, pattern, None)
        if model in (*self._config.embedder_roles, *self._config.text_roles):
            self.sample_embeddings[model] = inline["EMBEDDINGS"][0].copy()
        self.transports[model] = "inline"
        if self._config.shared_memory and (shared := await self._try_shared(model, pattern)) is not None:
            same = all(np.allclose(inline[name], shared[name], rtol=0, atol=SAME_ANSWER) for name in inline)
            self.transports[model] = "shm" if same else "inline"
        return self.transports[model]

    async def _try_shared(self, model: str, items: Items) -> Mapping[str, NDArray[Any]] | None:
        if not self.models[model].takes_pixels:
            return None
        (parts,) = items.values()
        try:
            region = await self._pool.acquire(parts[0].nbytes)
            return await self._infer_in_region(model, parts, region, None) if region else None
        except SightlineError as error:
            if isinstance(error, EngineError) and error.cause is Cause.GIVEN_UP:
                raise
            # A Triton on another host cannot map the region and reports it with a message of its choice.
            return None

    def tidy(self) -> None:
        """Begins to free the shared memory that no call has needed for some seconds."""
        self._begin(self._pool.tidy())

    def forget_regions(self, prefix: str) -> None:
        """Makes Triton unmap the regions of another process that has ended, by their names' `prefix`.

        Their last pixels would stay mapped until the engine ends. A region that a call still reads is left to a later
        `tidy`.
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
        models: dict[str, ConnectedModel] = {
            model.role: await read_model(client, model, digest, timeout_s) for model in config.models
        }
    except BaseException:
        await client.close()
        raise
    made = Connection(client, config, models)
    try:
        for model in config.roles:
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


async def read_model(
    client: TritonClient, served: ServedModel[Any], digest: Digest, timeout_s: float
) -> ConnectedModel:
    """One model as Triton and its file describe it. Raises CONFIGURATION when it does not keep its contract."""
    name = served.role
    metadata = await client.metadata(name, timeout_s)
    live = await client.config(name, timeout_s)
    warn_of_waits(name, live)
    sha256 = await asyncio.to_thread(digest, name, version_of(metadata))
    shapes = served.contract.shapes(check(name, served.contract, metadata))
    return ConnectedModel(served.contract, served.read(name, metadata, live, sha256), shapes)
