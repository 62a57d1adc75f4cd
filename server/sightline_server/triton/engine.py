"""The engine behind `ports.Engine`: starts Triton or finds it, keeps looking at it, mends it, and runs batches on it.

    begin -> connect -> ready <-> faulty -> reload of the models, else restart with back-off -> ready
Rule: `ready` turns False at the first failed call and True only after each model has answered for real. Whatever the
fault, a caller gets an error within its deadline and the watch goes on.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.models import DetectorSpec, EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Clock
from sightline_server.triton.client import TritonClient
from sightline_server.triton.config import DETECTOR, EMBEDDER, EngineConfig, EngineEvents, NoEvents
from sightline_server.triton.connection import Connection, connect
from sightline_server.triton.faults import Cause, EngineFailure
from sightline_server.triton.hosts import EmbeddedHost, Host, RemoteHost

log = logging.getLogger("sightline.engine")
MODELS = (DETECTOR, EMBEDDER)
POLL_S = 0.05
PORT_RACES = 3


class TritonEngine:
    """Both models on one Triton. Made by `embedded_engine` or `remote_engine`."""

    def __init__(self, host: Host, config: EngineConfig, events: EngineEvents, clock: Clock) -> None:
        self.host = host
        self._config = config
        self._events = events
        self._clock = clock
        self._connection: Connection | None = None
        self._specs: tuple[DetectorSpec, EmbedderSpec] | None = None
        self._ready = False
        self._listeners: list[Callable[[bool], None]] = []
        self._wake = asyncio.Event()
        self._suspects: set[str] = set()
        self._last_answer: dict[str, float] = {}
        self._calls: set[asyncio.Task[Any]] = set()
        self._watch: asyncio.Task[None] | None = None

    @property
    def detector(self) -> DetectorSpec:
        """The detector as the engine describes it."""
        return self._known_specs()[0]

    @property
    def embedder(self) -> EmbedderSpec:
        """The embedder as the engine describes it."""
        return self._known_specs()[1]

    def _known_specs(self) -> tuple[DetectorSpec, EmbedderSpec]:
        if self._specs is None:
            raise SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the model engine has not been started")
        return self._specs

    @property
    def ready(self) -> bool:
        """Whether both models answered their latest probe and no call has failed since."""
        return self._ready

    @property
    def metrics_url(self) -> str:
        """Where Triton shows its own metrics; empty for a remote engine."""
        return self.host.metrics_url

    @property
    def address(self) -> str:
        """HOST:PORT of Triton's gRPC service."""
        return self.host.address

    @property
    def transports(self) -> Mapping[str, str]:
        """How pixels reach each model: `shm` or `inline`."""
        return dict(self._connection.transports) if self._connection else {}

    def runner(self, model: str) -> "TritonRunner":
        """The runner of `detector` or `embedder`."""
        if model not in MODELS:
            raise ValueError(f"no model {model}")
        return TritonRunner(self, model)

    def on_change(self, listener: Callable[[bool], None]) -> None:
        """Calls `listener` with the new readiness whenever it changes."""
        self._listeners.append(listener)

    def _set_ready(self, ready: bool) -> None:
        if ready != self._ready:
            self._ready = ready
            for listener in self._listeners:
                listener(ready)

    # Starting and stopping

    async def start(self) -> None:
        """Returns when each model has answered. Raises `SightlineError` with the engine's log when that fails."""
        try:
            await self._raise_up()
        except BaseException:
            await self.stop()
            raise
        self._watch = asyncio.create_task(self._keep(), name="engine-watch")

    async def stop(self) -> None:
        """Ends the watch, the calls under way and the engine, within `stop_timeout_s` and a little."""
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        self._set_ready(False)
        await self._disconnect()
        await self.host.end(self._config.stop_timeout_s)
        await self.host.close()

    async def _raise_up(self) -> None:
        """From nothing to two models that answer, within `start_timeout_s`."""
        try:
            async with asyncio.timeout(self._config.start_timeout_s):
                await self.host.begin()
                client = await self._first_contact()
                self._connection = await connect(
                    client, self._config, self._events, self.host.digest, self._config.start_timeout_s
                )
        except TimeoutError as error:
            raise self._start_failure(f"did not answer within {self._config.start_timeout_s:g} s") from error
        except EngineFailure as error:
            raise self._start_failure(f"failed its first calls: {error.detail}") from error
        self._check_same_models(self._connection)
        self.host.settled()
        self._suspects.clear()
        self._last_answer = dict.fromkeys(MODELS, self._clock())
        self._set_ready(True)

    async def _first_contact(self) -> TritonClient:
        """A client of a Triton that says it is ready."""
        races = 0
        client = TritonClient(self.host.address)
        try:
            while True:
                if self.host.gone():
                    if isinstance(self.host, EmbeddedHost) and self.host.ports_taken() and races < PORT_RACES:
                        races += 1
                        await client.close()
                        await self.host.end(0)
                        self.host.forget_ports()
                        await self.host.begin()
                        client = TritonClient(self.host.address)
                    else:
                        raise self._start_failure("ended while it started")
                with contextlib.suppress(EngineFailure):
                    if await client.server_ready(self._config.probe_timeout_s):
                        return client
                await asyncio.sleep(POLL_S)
        except BaseException:
            await client.close()
            raise

    def _start_failure(self, what: str) -> SightlineError:
        where = "the embedded Triton" if self.host.mends else f"the Triton at {self.host.address}"
        text = "\n".join(["its log:", *self.host.log_tail()]) if self.host.log_tail() else ""
        return SightlineError(ErrorKind.ENGINE_UNAVAILABLE, f"{where} {what}\n{text}".rstrip())

    def _check_same_models(self, connection: Connection) -> None:
        """The server was built for the first models; an engine that comes back with others must not be used."""
        found = connection.detector, connection.embedder
        if self._specs is None:
            self._specs = found
        elif self._specs != found:
            names = " and ".join(spec.name for spec, was in zip(found, self._specs, strict=True) if spec != was)
            raise SightlineError(ErrorKind.CONFIGURATION, f"the engine now has another {names}; restart the server")

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()
        if self._calls:
            await asyncio.wait(self._calls, timeout=1.0)

    # Watching

    async def _keep(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.probe_interval_s):
                    await self._wake.wait()
            self._wake.clear()
            try:
                sick = await self._look()
                if sick:
                    self._set_ready(False)
                    await self._mend(sick)
                self._set_ready(True)
            except Exception:
                # The watch must outlive whatever it meets; the next round looks again.
                log.exception("the engine's watch failed")
                self._set_ready(False)

    async def _look(self) -> set[str]:
        """The models that do not answer; all of them when it is the engine itself."""
        connection = self._connection
        if connection is None or self.host.gone():
            return set(MODELS)
        if sick := set(self.host.sick_models()):
            return sick
        for model in MODELS:
            try:
                if not await connection.client.model_ready(model, self._config.probe_timeout_s):
                    sick.add(model)
                elif self._to_be_tried(model):
                    await connection.tiny_infer(model, self._config.probe_timeout_s)
                    self._suspects.discard(model)
                    self._last_answer[model] = self._clock()
            except EngineFailure as failure:
                log.warning("engine: %s does not answer its probe: %s", model, failure.detail)
                if failure.cause in (Cause.GONE, Cause.FROZEN):
                    return set(MODELS)
                sick.add(model)
            except TimeoutError:
                log.warning("engine: %s did not answer its probe in time", model)
                sick.add(model)
        return sick

    def _to_be_tried(self, model: str) -> bool:
        if model in self._suspects:
            return True
        idle_s = self._clock() - self._last_answer[model]
        return not self.host.mends and idle_s > self._config.idle_infer_interval_s

    # Mending

    async def _mend(self, sick: set[str]) -> None:
        """Returns when both models answer again, however often it has to try."""
        log.error("engine: %s not answering; its log:\n%s", " and ".join(sorted(sick)), "\n".join(self.host.log_tail()))
        if self.host.mends and not self.host.gone() and sick < set(MODELS) and await self._reload(sick):
            return
        waits = self._config.restart_backoff_s
        attempt = 0
        while not await self._restart(waits[min(attempt, len(waits) - 1)]):
            attempt += 1

    async def _reload(self, sick: set[str]) -> bool:
        """Unloads and loads the sick models; loading alone does nothing to a dead stub."""
        connection = self._connection
        if connection is None:
            return False
        limit_s = self._config.reload_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                for model in sorted(sick):
                    await connection.client.unload(model, limit_s)
                    await connection.client.load(model, limit_s)
                    await connection.tiny_infer(model, limit_s)
        except (EngineFailure, TimeoutError) as error:
            log.warning("engine: reloading failed: %s", getattr(error, "detail", "no answer in time"))
            return False
        self.host.settled()
        self._suspects -= sick
        self._events.restarted("reload")
        log.warning("engine: %s loaded again", " and ".join(sorted(sick)))
        return True

    async def _restart(self, wait_s: float) -> bool:
        """Ends the engine and starts it anew; False when that failed."""
        await asyncio.sleep(wait_s)
        await self._disconnect()
        await self.host.end(0)
        self._events.restarted("restart")
        try:
            await self._raise_up()
        except SightlineError as error:
            log.error("engine: %s", error.message)
            await self._disconnect()
            return False
        log.warning("engine: started again")
        return True

    # Running

    async def run(
        self, model: str, parts: Sequence[NDArray[np.uint8]], deadline: float | None
    ) -> Mapping[str, NDArray[Any]]:
        """One batch, for `TritonRunner`."""
        connection = self._connection
        if connection is None:
            raise EngineFailure(Cause.GONE, "not connected")
        remaining_s = None if deadline is None else deadline - self._clock()
        if remaining_s is not None and remaining_s <= 0:
            raise EngineFailure(Cause.EXPIRED, "no time left before the call")
        # The call goes on when its caller leaves: only Triton's own end of it frees the memory that it reads.
        call = asyncio.create_task(connection.infer(model, parts, remaining_s))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        call.add_done_callback(retrieve)
        try:
            async with asyncio.timeout(remaining_s):
                answer = await asyncio.shield(call)
        except TimeoutError:
            self._suspect(model)
            raise EngineFailure(Cause.EXPIRED, "no answer before the deadline") from None
        except EngineFailure as failure:
            self._heard(model, failure)
            raise
        self._last_answer[model] = self._clock()
        return answer

    def _heard(self, model: str, failure: EngineFailure) -> None:
        if failure.kind is ErrorKind.ENGINE_UNAVAILABLE:
            self._set_ready(False)
            self._suspect(model)
        elif failure.cause is Cause.REFUSED:
            log.error("engine: %s failed: %s", model, failure.detail)

    def _suspect(self, model: str) -> None:
        self._suspects.add(model)
        self._wake.set()


class TritonRunner:
    """`ports.ModelRunner` for one model of an engine."""

    def __init__(self, engine: TritonEngine, model: str) -> None:
        self._engine = engine
        self._model = model

    async def infer(self, parts: Sequence[NDArray[np.uint8]], *, deadline: float | None) -> Mapping[str, NDArray[Any]]:
        """Runs B pictures, each uint8 [H,W,3] of the model's size, as one batch; returns output name -> [B,...].

        The arrays are read-only. `deadline` is an instant of the engine's clock. Raises `SightlineError` of kind
        ENGINE_UNAVAILABLE (with `retry_after_s`), DEADLINE_EXCEEDED or INTERNAL.
        """
        return await self._engine.run(self._model, parts, deadline)


def retrieve(call: asyncio.Task[Any]) -> None:
    """Takes note of the end of a call that nobody waits for any more."""
    if not call.cancelled():
        call.exception()


def embedded_engine(
    config: EngineConfig, events: EngineEvents | None = None, clock: Clock = time.monotonic
) -> TritonEngine:
    """An engine in processes of our own; needs `engine install`, and `start` in the main thread."""
    heard = events or NoEvents()
    return TritonEngine(EmbeddedHost(config, heard.provider), config, heard, clock)


def remote_engine(
    config: EngineConfig, events: EngineEvents | None = None, clock: Clock = time.monotonic
) -> TritonEngine:
    """An engine that somebody else runs at `config.triton_url`."""
    heard = events or NoEvents()
    return TritonEngine(RemoteHost(config.triton_url or "", heard.provider), config, heard, clock)


def make_engine(config: EngineConfig, events: EngineEvents | None = None, clock: Clock = time.monotonic) -> TritonEngine:
    """The engine that `config` asks for."""
    return (remote_engine if config.triton_url else embedded_engine)(config, events, clock)
