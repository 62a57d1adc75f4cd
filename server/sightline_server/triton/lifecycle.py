"""Starts and stops an engine: host, first contact, connection.

Rule: an engine is up when each model has answered for real, within a bound on the whole; an engine that comes back with
other models than the server was built for is not taken.
"""

import asyncio
import logging
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.models import ModelSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton.client import TritonClient
from sightline_server.triton.config import EngineConfig, EngineEvents
from sightline_server.triton.connection import Connection, connect
from sightline_server.triton.faults import EngineError
from sightline_server.triton.handshake import is_final
from sightline_server.triton.hosts import Host

log = logging.getLogger("sightline.engine")
POLL_S = 0.05
MOST_OBSTACLES = 5
SAME_EMBEDDER = 0.99
"""Minimum cosine of two embeddings of one image by one model; another device changes it by far less."""


class Lifecycle:
    """One engine over all its incarnations."""

    def __init__(self, host: Host, config: EngineConfig, events: EngineEvents) -> None:
        self.host = host
        self.connection: Connection | None = None
        """The connection to the engine's present incarnation; None while there is none."""
        self._config = config
        self._events = events
        self._specs: Mapping[str, ModelSpec] | None = None
        self._sample_embeddings: Mapping[str, NDArray[np.float32]] = {}
        self._obstacles: list[str] = []
        """The reasons why this start has not reached a remote Triton; each once."""

    @property
    def specs(self) -> Mapping[str, ModelSpec]:
        """The models that the first start found, by role. Raises ENGINE_UNAVAILABLE before it."""
        if self._specs is None:
            raise SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the model engine has not been started")
        return self._specs

    async def raise_up(self) -> None:
        """Starts the engine until its models answer. Raises `SightlineError` with the engine's log when that fails."""
        limit_s = self._config.start_timeout_s
        self._obstacles = []
        try:
            async with asyncio.timeout(limit_s):
                await self.host.begin()
                client = await self._first_contact()
                connection = await connect(client, self._config, self._events, self.host.digest, limit_s)
        except TimeoutError as error:
            reason = f": {'; '.join(self._obstacles)}" if self._obstacles else ""
            raise self._failure(f"did not answer within {limit_s:g} s{reason}") from error
        except EngineError as error:
            raise self._failure(f"failed its first calls: {error.detail}") from error
        try:
            self._check_same_models(connection)
        except SightlineError:
            await connection.close()
            raise
        self.connection = connection
        self.host.settled()
        metrics = self.host.metrics_url
        log.info("engine: %s on %s", self.host.name, " and ".join(spec.identity for spec in self.specs.values()))
        log.info("engine: gRPC on %s%s", self.host.address, metrics and f", metrics on {metrics}")

    async def _first_contact(self) -> TritonClient:
        """A client of a Triton that says it is ready."""
        client = TritonClient(self.host.address, self.host.tls)
        try:
            while not await self._says_ready(client):  # noqa: ASYNC110 (Triton has no event for it)
                await asyncio.sleep(POLL_S)
            return client
        except BaseException:
            await client.close()
            raise

    async def _says_ready(self, client: TritonClient) -> bool:
        """Asks Triton once whether it is ready. Raises `SightlineError` where asking again cannot help."""
        if self.host.gone():
            raise self._failure("ended while it started")
        try:
            return await client.server_ready(self._config.probe_timeout_s)
        except EngineError as error:
            obstacle = self.host.explain(error.detail)
            if is_final(error.detail):
                raise self._failure(f"cannot be used: {obstacle}") from error
            self._note(obstacle)
            return False

    def _note(self, obstacle: str) -> None:
        """Records why a remote Triton was not reached, and logs it once; an embedded engine is just starting."""
        if not self.host.mends and obstacle not in self._obstacles and len(self._obstacles) < MOST_OBSTACLES:
            log.warning("engine: %s cannot be reached yet: %s", self.host.name, obstacle)
            self._obstacles.append(obstacle)

    def _check_same_models(self, connection: Connection) -> None:
        found = {role: model.spec for role, model in connection.models.items()}
        if self._specs is None:
            self._specs, self._sample_embeddings = found, connection.sample_embeddings
        changed = {str(role) for role, spec in found.items() if spec != self._specs[role]}
        # A remote engine's files are not available: its embedders are recognised by their answers as well.
        for role, sample in connection.sample_embeddings.items():
            if not same_direction(sample, self._sample_embeddings[role]):
                changed.add(str(role))
        if changed:
            text = f"the engine now has another {' and another '.join(sorted(changed))}; restart the server"
            raise SightlineError(ErrorKind.CONFIGURATION, text)

    def _failure(self, what: str) -> SightlineError:
        log = self.host.log_tail()
        text = "\n".join([f"{self.host.name} {what}", *(["its log:", *log] if log else [])])
        return SightlineError(ErrorKind.ENGINE_UNAVAILABLE, text)

    async def take_down(self, grace_s: float) -> None:
        """Ends the connection, with its calls, and the engine's processes; by force after `grace_s`."""
        connection, self.connection = self.connection, None
        if not grace_s:
            # At once: other processes may be calling it, too, and the answers of an unhealthy model may be anything.
            await self.host.end(0)
        if connection:
            await connection.close()
        await self.host.end(grace_s)

    async def reload(self, models: set[str]) -> None:
        """Unloads and loads models whose stub is dead, and tries them; loading alone would do nothing.

        Raises `EngineError`, or `TimeoutError` after `reload_timeout_s` or when a model does not go.
        """
        connection, limit_s = self.connection, self._config.reload_timeout_s
        if connection is None:
            raise TimeoutError
        async with asyncio.timeout(limit_s):
            self.host.kill_models(models)
            for model in sorted(models):
                await connection.client.unload(model, limit_s)
                await self._put_away(connection.client, model)
                await connection.client.load(model, limit_s)
                await connection.tiny_infer(model, limit_s)
        self.host.settled()

    async def _put_away(self, client: TritonClient, model: str) -> None:
        """Waits for the end of unloading. Raises `TimeoutError` for a model that stays: its stub died during a call.

        It could be loaded again, but Triton would keep the resources of the dead one for ever: 36 threads, 64 MiB of
        shared memory. Starting Triton again takes no longer.
        """
        limit_s = self._config.unload_timeout_s
        async with asyncio.timeout(limit_s):
            while not await client.unloaded(model, limit_s):  # noqa: ASYNC110 (Triton has no event for it)
                await asyncio.sleep(POLL_S)


def same_direction(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Returns whether two embeddings float32 [D] can be those of one image by one model."""
    if one.shape != other.shape:
        return False
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) >= SAME_EMBEDDER * lengths
