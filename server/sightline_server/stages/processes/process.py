"""A decode process as the server sees it, from its fork to its end."""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass

from sightline_server.stages.processes.messages import MAX_MESSAGE, READY

ELAPSED_TIMES = 4
"""Times the limit on CPU seconds; the CPU limit alone would never end a process that sleeps."""
READY_S = 60.0
"""Seconds that a process may take from its fork until it can decode; a hundredth of one is usual."""


class EndedError(Exception):
    """The process has ended, or has closed its socket, before it answered."""


class NotStartedError(Exception):
    """A process could not be started; this is not the fault of a photo."""


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """The most processes at a time, and the limits of each.

    `memory_bytes` is address space, `timeout_s` seconds of CPU that one photo may take.
    """

    count: int = 2
    memory_bytes: int = 2 << 30
    timeout_s: int = 10

    @property
    def elapsed_s(self) -> int:
        """Seconds of elapsed time that one photo may take: on a busy machine a process waits for the models."""
        return ELAPSED_TIMES * self.timeout_s


class DecodeProcess:
    """One process. `handle` is its pidfd, so that a signal can reach no other; `gone` is set to its exit code."""

    def __init__(self, pid: int, handle: int, channel: socket.socket, gone: "asyncio.Future[int]") -> None:
        self.pid = pid
        self._handle = handle
        self._channel = channel
        self.gone = gone

    def send(self, message: bytes, descriptor: int) -> None:
        """Sends a message and a file. Raises `EndedError`."""
        try:
            socket.send_fds(self._channel, [message], [descriptor])
        except OSError as error:
            raise EndedError from error

    async def receive(self) -> bytes:
        """Its next message. Raises `EndedError`."""
        try:
            message = await asyncio.get_running_loop().sock_recv(self._channel, MAX_MESSAGE)
        except OSError as error:
            raise EndedError from error
        if not message:
            raise EndedError
        return message

    async def until_ready(self) -> None:
        """Returns when the process can decode. Raises `NotStartedError`; the caller must then end the process."""
        try:
            async with asyncio.timeout(READY_S):
                message = await self.receive()
        except (EndedError, TimeoutError) as error:
            raise NotStartedError("it ended, or took too long, before it could decode") from error
        if message != READY:
            raise NotStartedError("it did not say that it is ready")

    async def end(self) -> int:
        """Kills it; returns its exit code once it is gone, the negative number of a signal that ended it."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        code = await asyncio.shield(self.gone)
        self._channel.close()
        os.close(self._handle)
        return code
