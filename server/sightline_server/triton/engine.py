"""The engine behind `ports.Engine`: the models of a search on one Triton, embedded or remote.

Rule: whatever the fault, a caller has an answer or an error by its deadline, and `ready` shows the fault at once.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from numpy.typing import NDArray

from sightline_server import memory, owned_names
from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.domain.models import AnyRole, Role, SpecT
from sightline_server.domain.text_encoders import ServedTextEncoder, by_embedder
from sightline_server.ports import Clock
from sightline_server.process_identity import ProcessIdentity
from sightline_server.triton import regions
from sightline_server.triton.config import EngineConfig, EngineEvents, NoEvents
from sightline_server.triton.faults import Cause, EngineError
from sightline_server.triton.forgetting import Forgetting
from sightline_server.triton.hosts import Host
from sightline_server.triton.lifecycle import Lifecycle
from sightline_server.triton.watch import Watch

log = logging.getLogger("sightline.engine")


class TritonEngine:
    """All models on one Triton."""

    def __init__(
        self, host: Host, config: EngineConfig, events: EngineEvents | None = None, clock: Clock = time.monotonic
    ) -> None:
        """`host` runs the Triton; nothing is started yet."""
        events = events or NoEvents()
        self.host = host
        self._config = config
        self._clock = clock
        self._ready = False
        self._listeners: list[Callable[[bool], None]] = []
        self._lifecycle = Lifecycle(host, config, events)
        self._watch = Watch(self._lifecycle, config, events, clock, self._set_ready)
        self._watching: asyncio.Task[None] | None = None
        self._forgetting = Forgetting(self._run_black, memory.give_back, clock, config.rest_s)
        self._resting: asyncio.Task[None] | None = None

    def spec(self, role: Role[SpecT]) -> SpecT:
        """The model of `role` as the engine describes it; valid once started. Raises `ValueError` without one."""
        self._check_role(role)
        # The role's own reader made it, so it has the role's type.
        return cast(SpecT, self._lifecycle.specs[role])

    @property
    def embedders(self) -> ServedEmbedders:
        """The embedders that are served, the one of role `embedder` first; valid once started.

        Raises `SightlineError` of kind CONFIGURATION where two of them have one identity.
        """
        return ServedEmbedders.of([(role, self.spec(role)) for role in self._config.embedder_roles])

    @property
    def text_encoders(self) -> Mapping[str, ServedTextEncoder]:
        """The text encoders that are served, by the identity of the embedder of each; valid once started.

        Raises `SightlineError` of kind CONFIGURATION for one that belongs to another embedder.
        """
        return by_embedder([(role, self.spec(role)) for role in self._config.text_roles], self.embedders)

    @property
    def ready(self) -> bool:
        """True if all models answered their latest probe and no call has failed since."""
        return self._ready

    @property
    def address(self) -> str:
        """gRPC address of Triton: HOST:PORT or unix:PATH."""
        return self.host.address

    @property
    def metrics_url(self) -> str:
        """URL of Triton's own metrics; empty where there are none or for a remote engine."""
        return self.host.metrics_url

    @property
    def transports(self) -> Mapping[str, str]:
        """The transport of the pixels to each model: `shm` or `inline`; empty while there is no connection."""
        connection = self._lifecycle.connection
        return dict(connection.transports) if connection else {}

    def runner(self, role: AnyRole) -> "TritonRunner":
        """The runner of the model of `role`. Raises `ValueError` without one."""
        self._check_role(role)
        return TritonRunner(self, role)

    def _check_role(self, role: AnyRole) -> None:
        if role not in self._config.roles:
            raise ValueError(f"no model has the role {role}; there are {', '.join(self._config.roles)}")

    def on_change(self, listener: Callable[[bool], None]) -> None:
        """Calls `listener` with the new readiness whenever it changes."""
        self._listeners.append(listener)

    def _set_ready(self, ready: bool) -> None:
        if ready != self._ready:
            self._ready = ready
            for listener in self._listeners:
                listener(ready)

    @property
    def digests(self) -> Mapping[str, str]:
        """Model -> SHA-256 of its file; empty where that is not known."""
        return {role: spec.sha256 for role, spec in self._lifecycle.specs.items()}

    def forget_process(self, process: ProcessIdentity) -> None:
        """Removes the shared memory of another process that called this engine and has ended, pixels included."""
        prefix = owned_names.prefix_of(process)
        regions.remove(prefix)
        # An engine without a connection is being restarted, and forgets them by that.
        if connection := self._lifecycle.connection:
            connection.forget_regions(prefix)

    def give_up(self, model: str) -> None:
        """Another process that calls this engine reports that Triton marked the stub of `model` as unhealthy."""
        self._watch.failed(model, EngineError(Cause.GIVEN_UP, "a worker reported it"), self._clock())

    async def start(self) -> None:
        """Returns when each model has answered. Raises `SightlineError` with the engine's log when that fails."""
        try:
            await self._lifecycle.raise_up()
            # Two embedders of one identity and text encoders of other embedders are refused here.
            log.debug("engine: embedders %s", ", ".join(self.embedders.identities))
            log.debug("engine: %d text encoders", len(self.text_encoders))
        except BaseException:
            await self.stop()
            raise
        self._set_ready(True)
        self._watching = asyncio.create_task(self._watch.run(), name="engine-watch")
        self._resting = asyncio.create_task(self._forgetting.run(), name="engine-forgetting")

    async def stop(self) -> None:
        """Ends the watch, the calls under way and the engine, within `stop_timeout_s` and a little."""
        for task in filter(None, (self._watching, self._resting)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._watching = self._resting = None
        self._set_ready(False)
        await self._lifecycle.take_down(self._config.stop_timeout_s)
        await self.host.close()

    async def run(
        self, model: str, inputs: Mapping[str, Sequence[NDArray[Any]]], deadline: float | None
    ) -> Mapping[str, NDArray[Any]]:
        """One batch; see `TritonRunner.infer`."""
        began = self._clock()
        remaining_s = None if deadline is None else deadline - began
        if remaining_s is not None and remaining_s <= 0:
            raise EngineError(Cause.EXPIRED, "no time left before the call")
        connection = self._lifecycle.connection
        if connection is None:
            raise EngineError(Cause.GONE, "not connected")
        self._check_believable(model)
        # The call goes on when its caller cancels: only its end at Triton frees the memory that it reads.
        call = connection.submit(model, inputs, remaining_s)
        count = max(map(len, inputs.values()), default=0)
        self._forgetting.began(model, count)
        call.add_done_callback(lambda call: self._forgetting.ended(model, count))
        # Its outcome is reported to the watch in any case, and before a caller gets it.
        call.add_done_callback(partial(self._judge, model, began))
        try:
            async with asyncio.timeout(remaining_s):
                answer = await asyncio.shield(call)
        except TimeoutError:
            self._watch.kept_waiting(model, began)
            raise EngineError(Cause.EXPIRED, "no answer before the deadline") from None
        self._check_believable(model)
        return answer

    async def _run_black(self, model: str, images: int) -> None:
        if connection := self._lifecycle.connection:
            await connection.run_black(model, images)

    def _judge(self, model: str, began: float, call: asyncio.Task[Any]) -> None:
        error = None if call.cancelled() else call.exception()
        if isinstance(error, EngineError):
            self._watch.failed(model, error, began)
        elif error is None and not call.cancelled():
            self._watch.answered(model)

    def _check_believable(self, model: str) -> None:
        if self._watch.given_up(model):
            raise EngineError(Cause.GIVEN_UP, "Triton marked the model as unhealthy, and it is being restarted")


class TritonRunner:
    """`ports.ModelRunner` for one model of an engine."""

    def __init__(self, engine: TritonEngine, model: str) -> None:
        self._engine = engine
        self._model = model

    async def infer(
        self, inputs: Mapping[str, Sequence[NDArray[Any]]], *, deadline: float | None
    ) -> Mapping[str, NDArray[Any]]:
        """Runs one batch of B items; returns output name -> [B,...].

        `inputs` has B arrays, one for each item, for every input tensor of the model. The answer's arrays are
        read-only. `deadline` is an instant of the engine's clock. Raises `SightlineError` of kind ENGINE_UNAVAILABLE
        (with `retry_after_s`), DEADLINE_EXCEEDED or INTERNAL.
        """
        return await self._engine.run(self._model, inputs, deadline)
