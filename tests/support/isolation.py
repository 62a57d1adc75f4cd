"""Decode processes for tests: a pool with its threads, and how to find out what became of a process."""

import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import psutil

from sightline_server.domain.image import Frame
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.processes.pool import DecodeProcesses
from sightline_server.stages.processes.process import ProcessLimits

LIMITS = DecodeLimits(20 << 20, 64_000_000, 3072)
BOUNDS = ProcessLimits(count=1, memory_bytes=2 << 30, timeout_s=60)


PROGRAM = "sightline_server.stages.processes.fork_server"


@dataclass
class Isolation:
    """Threads and decode processes, and why processes have ended while they decoded."""

    threads: PhotoThreads
    processes: DecodeProcesses
    ends: list[str] = field(default_factory=list)

    others: frozenset[int] = field(default_factory=lambda: frozenset(each.pid for each in fork_servers()))
    """Fork servers of other servers in this process."""

    def fork_servers(self) -> list[psutil.Process]:
        """Its fork server, once that is started."""
        return [each for each in fork_servers() if each.pid not in self.others]

    def fork_server(self) -> psutil.Process:
        """The one fork server."""
        (server,) = self.fork_servers()
        return server

    @property
    def pid(self) -> int:
        """The one process's id."""
        (pid,) = self.processes.pids
        return pid

    async def decode(self, photo: bytes, limits: DecodeLimits = LIMITS) -> Frame:
        """The frame of a photo."""
        return await self.threads.decode(photo, limits, lambda frame: frame, lambda: None)


@asynccontextmanager
async def isolation(bounds: ProcessLimits = BOUNDS) -> AsyncIterator[Isolation]:
    """Threads and decode processes for the length of the block, and none of them after it."""
    ends: list[str] = []
    processes = DecodeProcesses(bounds, ends.append)
    with ThreadPoolExecutor(2) as executor:
        try:
            yield Isolation(PhotoThreads(executor, processes), processes, ends)
        finally:
            await processes.close()
    assert processes.pids == []


def decoders(pid: int | None = None) -> list[psutil.Process]:
    """The decode processes below process `pid`, this one by default; those that have ended do not count."""
    found = []
    for server in fork_servers(pid):
        with suppress(psutil.Error):
            found += [each for each in server.children() if each.status() != psutil.STATUS_ZOMBIE]
    return found


def fork_servers(pid: int | None = None) -> list[psutil.Process]:
    """The fork servers below process `pid`, this one by default."""
    found = []
    for each in psutil.Process(pid or os.getpid()).children(recursive=True):
        with suppress(psutil.Error):
            # A decode process has the command line of the fork server that it was.
            if PROGRAM in each.cmdline() and PROGRAM not in psutil.Process(each.ppid()).cmdline():
                found.append(each)
    return found
