"""Probes the engine for as long as it runs, and restarts it.

    ready <-> faulty -> reload of the sick models, else restart with back-off -> ready
An embedded engine's processes are inspected directly and Triton is asked whether it is ready; models are tried with a
tiny infer when a call has failed (a remote engine's also when idle), so that Triton's own counters hold nothing else.
Rule: readiness goes at the first failed call and comes back only after an answer; the watch outlives every fault.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import Clock
from sightline_server.triton.config import EngineConfig, EngineEvents
from sightline_server.triton.faults import Cause, EngineError
from sightline_server.triton.ports import WatchedConnection, WatchedEngine

log = logging.getLogger("sightline.engine")


class Watch:
    """Keeps one engine running; the calls report their outcome."""

    def __init__(
        self,
        lifecycle: WatchedEngine,
        config: EngineConfig,
        events: EngineEvents,
        clock: Clock,
        set_ready: Callable[[bool], None],
    ) -> None:
        self._lifecycle = lifecycle
        self._host = lifecycle.host
        self._config = config
        self._events = events
        self._clock = clock
        self._set_ready = set_ready
        self._wake = asyncio.Event()
        self._suspects: set[str] = set()
        self._given_up: set[str] = set()
        self._stale = False
        self._mended_at: dict[str, float] = dict.fromkeys(config.roles, clock())
        self._last_answer = dict(self._mended_at)

    # Reports of calls

    def answered(self, model: str) -> None:
        """A call got its answer."""
        self._last_answer[model] = self._clock()

    def failed(self, model: str, error: EngineError, since: float) -> None:
        """A call begun at `since` failed in the engine."""
        if error.kind is ErrorKind.ENGINE_UNAVAILABLE:
            # Failures before a restart say nothing about the engine now.
            if since >= self._mended_at[model]:
                self._set_ready(False)
                self._stale |= error.cause is Cause.REGION_LOST
                if error.cause is Cause.GIVEN_UP:
                    self._give_up(model)
                self._suspect(model)
        elif error.cause is Cause.REFUSED:
            log.error("engine: %s failed: %s", model, error.detail)

    def _give_up(self, model: str) -> None:
        if model not in self._given_up:
            self._given_up.add(model)
            log.error(
                "engine: Triton marked %s as unhealthy and may be out of step with it; its answers are discarded", model
            )
            self._events.given_up(model)

    def given_up(self, model: str) -> bool:
        """Returns whether Triton may assign answers of `model` to other requests, so that they must be discarded."""
        return model in self._given_up

    def kept_waiting(self, model: str, since: float) -> None:
        """A call begun at `since` had no answer at its deadline; suspicious only if no later call had one either."""
        if self._last_answer[model] < since:
            self._suspect(model)

    def _suspect(self, model: str) -> None:
        self._suspects.add(model)
        self._wake.set()

    # Probing

    async def run(self) -> None:
        """Probes and restarts until it is cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.probe_interval_s):
                    await self._wake.wait()
            self._wake.clear()
            try:
                self._host.tend()
                if sick := await self._look():
                    self._set_ready(False)
                    await self._mend(sick)
                self._set_ready(not self._given_up)
                self._tidy()
            except Exception:
                # The next round checks again, whatever failed.
                log.exception("engine: the watch failed")
                self._set_ready(False)

    def _tidy(self) -> None:
        if connection := self._lifecycle.connection:
            connection.tidy()

    async def _look(self) -> set[str]:
        """The models that do not answer; all of them when it is the engine itself."""
        connection = self._lifecycle.connection
        if connection is None or self._stale or self._host.gone():
            return set(self._config.roles)
        # An answered probe does not help a stub that Triton marked as unhealthy: it stays out of step with Triton.
        if sick := self._sick_processes() | self._given_up:
            return sick
        for model in self._config.roles:
            try:
                if not await self._answers(connection, model):
                    sick.add(model)
            except EngineError as error:
                log.warning("engine: %s does not answer its probe: %s", model, error.detail)
                if error.cause in (Cause.GONE, Cause.FROZEN):
                    return set(self._config.roles)
                if error.cause is Cause.GIVEN_UP:
                    self._give_up(model)
                sick.add(model)
            except TimeoutError:
                log.warning("engine: %s did not answer its probe in time", model)
                sick.add(model)
        # A call may have reported more meanwhile.
        return sick | self._given_up

    def _sick_processes(self) -> set[str]:
        try:
            return set(self._host.sick_models())
        except OSError as error:
            # No descriptor is left for the check; an engine that answers is not ended for it.
            log.warning("engine: cannot inspect its processes: %s", error.strerror)
            return set()

    async def _answers(self, connection: WatchedConnection, model: str) -> bool:
        if not await connection.client.model_ready(model, self._config.probe_timeout_s):
            return False
        if self._to_be_tried(model):
            await connection.tiny_infer(model, self._config.probe_timeout_s)
            self._suspects.discard(model)
            self.answered(model)
        return True

    def _to_be_tried(self, model: str) -> bool:
        if model in self._suspects:
            return True
        idle_s = self._clock() - self._last_answer[model]
        return not self._host.mends and idle_s > self._config.idle_infer_interval_s

    # Restarting

    async def _mend(self, sick: set[str]) -> None:
        """Restarts until all models answer again."""
        words = "\n".join(self._host.log_tail())
        what = "marked unhealthy" if self._given_up else "not answering"
        log.error("engine: %s %s%s", " and ".join(sorted(sick)), what, f"; its log:\n{words}" if words else "")
        # Triton never ends unloading a model that it marked as unhealthy.
        one_model_only = (
            self._host.mends and not self._host.gone() and sick < set(self._config.roles) and not self._given_up
        )
        # While one is loaded again, a call may report that the other was marked as unhealthy.
        if not (one_model_only and await self._reloaded(sick)) or self._given_up:
            waits = self._config.restart_backoff_s
            attempt = 0
            while not await self._restarted(waits[min(attempt, len(waits) - 1)]):
                attempt += 1

    def _begin_anew(self, models: Collection[str]) -> None:
        """Forgets the reports of calls about the former stubs of `models`."""
        now = self._clock()
        for model in models:
            self._suspects.discard(model)
            self._given_up.discard(model)
            self._mended_at[model] = self._last_answer[model] = now

    async def _reloaded(self, sick: set[str]) -> bool:
        try:
            await self._lifecycle.reload(sick)
        except (EngineError, TimeoutError) as error:
            log.warning("engine: reloading failed: %s", getattr(error, "detail", "no answer in time"))
            return False
        self._begin_anew(sick)
        self._events.restarted("reload")
        log.warning("engine: %s loaded again", " and ".join(sorted(sick)))
        return True

    async def _restarted(self, wait_s: float) -> bool:
        await asyncio.sleep(wait_s)
        await self._lifecycle.take_down(0)
        # From here on, the reports of calls are about the new engine, even before it is up.
        self._begin_anew(self._config.roles)
        self._stale = False
        self._events.restarted("restart")
        try:
            await self._lifecycle.raise_up()
        except SightlineError as error:
            log.error("engine: %s", error.message)
            return False
        log.warning("engine: running again")
        return True
