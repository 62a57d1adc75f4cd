"""A worker: one process on a node that fetches and embeds blocks with its own engine.

Rule: what fails is the outcome of the block, never an exception in Ray: only a worker that is killed has none. A worker
that failed starts its engine again, after a pause that gives its blocks to other workers.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.building.options import BuildOptions
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.on_ray import parts
from sightline_server.ingest.on_ray.block_embedding import BlockEmbedder, block_embedder
from sightline_server.ingest.on_ray.plan import Block

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 60.0

StartEngine: TypeAlias = Callable[[], AbstractAsyncContextManager[tuple[EmbedderSpec, Embed]]]
"""Starts the engine of a worker, for the length of the context. It is pickled, because it is sent to the nodes."""


@dataclass(frozen=True, slots=True)
class Work:
    """The task of all workers. `options` are those of the build, without its feed; relative links lie below `root`."""

    options: BuildOptions
    root: Path | None
    engine: StartEngine


@dataclass(frozen=True, slots=True)
class Fault:
    """The reason why a worker could not do a block."""

    kind: ErrorKind
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of `block`: the file of its part, or a `fault`. `worker` is the process on `node` that did it."""

    block: Block
    node: str
    worker: str
    part: bytes = b""
    fault: Fault | None = None


class Worker:
    """Embeds blocks, one at a time; its engine starts with the first."""

    def __init__(self, work: Work, sleep: Callable[[float], None] = time.sleep) -> None:
        self._work = work
        self._sleep = sleep
        self._faults = 0
        self._embedder: BlockEmbedder | None = None
        self._open = AsyncExitStack()
        # Runs in the thread that calls, the main one of its process: an embedded engine starts in no other.
        self._loop = asyncio.new_event_loop()

    def outcome(self, block: Block) -> Outcome:
        """The outcome of `block`. Blocks."""
        node = socket.gethostname()
        worker = f"{node}:{os.getpid()}"
        if self._faults:
            self._sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self._faults - 1)))
        try:
            part = self._loop.run_until_complete(self._part(block))
        except Exception as error:
            self._faults += 1
            return Outcome(block, node, worker, fault=fault_of(error))
        self._faults = 0
        return Outcome(block, node, worker, part)

    def close(self) -> None:
        """Stops the engine."""
        self._loop.run_until_complete(self._open.aclose())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _part(self, block: Block) -> bytes:
        try:
            if self._embedder is None:
                spec, embed = await self._open.enter_async_context(self._work.engine())
                work = self._work
                embedder = block_embedder(work.options, work.root, spec, embed)
                self._embedder = await self._open.enter_async_context(embedder)
            return await asyncio.to_thread(parts.encode, await self._embedder.part(block))
        except BaseException:
            self._embedder = None
            await self._open.aclose()
            raise


def fault_of(error: Exception) -> Fault:
    """The fault that an exception is reported as."""
    if isinstance(error, SightlineError):
        return Fault(error.kind, error.message)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        return Fault(ErrorKind.ENGINE_UNAVAILABLE, f"{where}{error.strerror or type(error).__name__}")
    return Fault(ErrorKind.INTERNAL, f"internal error ({type(error).__name__})")
