"""The fork server as the server sees it: started with the first decode process, and again when it has ended.

Rule: it gets a socket, and nothing else of the server: no standard streams, no descriptors, and of the environment only
what `INHERITED` names.
"""

import asyncio
import os
import signal
import socket
import sys
from collections import deque
from contextlib import suppress
from typing import Self

from sightline_server.stages.processes.forking import FORK, READY, Forked, decoded
from sightline_server.stages.processes.process import DecodeProcess, NotStartedError, ProcessLimits

COMMAND = ("-P", "-m", "sightline_server.stages.processes.fork_server")
"""-P: nothing in the working directory is taken for a module of ours."""
INHERITED = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
    *("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH"),
)
"""Variables by which a Python program and its libraries are found."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Each thread of these would take address space, which is limited, none of them decodes, and fork(2) copies one."""
START_S = 60.0
"""Seconds that a fork server may take until it can fork; a quarter of one is usual."""
MAX_PACKET = 256


class ForkServerLink:
    """A running fork server and the processes that it has forked."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self.pid = process.pid
        self._process = process
        self._channel = channel
        self._asked: deque[asyncio.Future[tuple[int, int]]] = deque()
        """The requests that have no answer yet; they are answered in order."""
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, limits: ProcessLimits) -> Self:
        """A fork server that has loaded the image libraries. Raises `NotStartedError`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            numbers = (os.getpid(), theirs.fileno(), limits.memory_bytes, limits.timeout_s)
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, *COMMAND, *map(str, numbers)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                    env={name: os.environ[name] for name in INHERITED if name in os.environ} | ONE_THREAD,
                    pass_fds=(theirs.fileno(),),
                    process_group=0,
                )
            except OSError as error:
                ours.close()
                raise NotStartedError(f"it cannot be started: {error.strerror}") from error
            except BaseException:
                ours.close()
                raise
        link = cls(process, ours)
        try:
            await link._until_ready()
        except BaseException:
            await asyncio.shield(link.end())
            raise
        link._reading = asyncio.create_task(link._read(), name="fork-server-messages")
        return link

    async def _until_ready(self) -> None:
        message = b""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(START_S):
                message = await asyncio.get_running_loop().sock_recv(self._channel, MAX_PACKET)
        if message != READY:
            raise NotStartedError("it ended, or took too long, before it could decode")

    @property
    def running(self) -> bool:
        """True until its end is known."""
        return self._reading is not None and not self._reading.done()

    async def fork(self) -> DecodeProcess:
        """A new process, which decodes as soon as it is ready. Raises `NotStartedError`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        asked: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        try:
            with theirs:
                socket.send_fds(self._channel, [FORK], [theirs.fileno()])
            self._asked.append(asked)
            pid, handle = await asked
        except OSError as error:
            ours.close()
            raise NotStartedError("the process that forks it has ended") from error
        except BaseException:
            # A process that was forked meanwhile finds its socket closed, and ends.
            ours.close()
            if asked.done() and not asked.cancelled() and asked.exception() is None:
                os.close(asked.result()[1])
            raise
        return DecodeProcess(pid, handle, ours, self._exits[pid])

    async def _read(self) -> None:
        """Hands on the fork server's messages until it has ended."""
        try:
            while message := await self._received():
                self._take(*message)
        finally:
            self._lost()

    async def _received(self) -> tuple[bytes, list[int]] | None:
        """The next packet with its descriptors; None at the end."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                packet, descriptors, _, _ = socket.recv_fds(self._channel, MAX_PACKET, 1)
                return (packet, descriptors) if packet else None
            except BlockingIOError:
                await readable(loop, self._channel.fileno())
            except OSError:
                return None

    def _take(self, packet: bytes, descriptors: list[int]) -> None:
        message = decoded(packet)
        if not isinstance(message, Forked):
            self._exits.pop(message.pid).set_result(message.code)
            return
        asked = self._asked.popleft()
        if not message.pid:
            refuse(asked)
            return
        [handle] = descriptors
        self._exits[message.pid] = asyncio.get_running_loop().create_future()
        if asked.done():
            os.close(handle)
        else:
            asked.set_result((message.pid, handle))

    def _lost(self) -> None:
        """The fork server has ended, and the kernel has killed what it had forked."""
        while self._asked:
            refuse(self._asked.popleft())
        while self._exits:
            self._exits.popitem()[1].set_result(-signal.SIGKILL)

    async def end(self) -> None:
        """Kills it, and with it all processes that it has forked; returns when it is gone."""
        with suppress(ProcessLookupError):
            # `Process.kill` asks for the exit code first, and would take it from asyncio's watcher.
            os.kill(self.pid, signal.SIGKILL)
        await self._process.wait()
        if self._reading is not None:
            await self._reading
        self._channel.close()


def refuse(asked: "asyncio.Future[tuple[int, int]]") -> None:
    """Answers a request for which no process was forked."""
    if not asked.done():
        asked.set_exception(NotStartedError("it cannot be forked"))


async def readable(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    """Returns when `descriptor` has something to read, or has ended."""
    event = loop.create_future()

    def wake() -> None:
        if not event.done():
            event.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await event
    finally:
        loop.remove_reader(descriptor)
