"""A decode process as the server sees it, from its start to its end.

Rule: it gets a socket, and nothing else of the server: no standard streams, no descriptors, and of the environment only
what `INHERITED` names.
"""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass

from sightline_server.stages.processes.messages import MAX_MESSAGE, READY

COMMAND = ("-P", "-m", "sightline_server.stages.processes.program")
"""-P: nothing in the working directory is taken for a module of ours."""
INHERITED = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
    *("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH"),
)
"""Variables by which a Python program and its libraries are found."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Each thread of these would take address space, which is limited, and none of them decodes."""
ELAPSED_TIMES = 4
"""Times the limit on CPU seconds; the CPU limit alone would never end a process that sleeps."""
START_S = 60.0
"""Seconds that a process may take until it can decode; one is usual."""


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
    """One process, made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self.pid = process.pid
        self._process = process
        self._channel = channel

    @property
    def running(self) -> bool:
        """True if the process is not known to have ended."""
        return self._process.returncode is None

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

    async def end(self) -> int:
        """Kills it; returns its exit code once it is gone, the negative number of a signal that ended it."""
        if self.running:
            with suppress(ProcessLookupError):
                # `Process.kill` asks for the exit code first, and would take it from asyncio's watcher.
                os.kill(self.pid, signal.SIGKILL)
        code = await self._process.wait()
        self._channel.close()
        return code


async def start(limits: ProcessLimits) -> DecodeProcess:
    """A process that has loaded its libraries and can decode. Raises `NotStartedError`."""
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
    return DecodeProcess(process, ours)


async def until_ready(started: DecodeProcess) -> None:
    """Returns when the process can decode. Raises `NotStartedError`; the caller must then end the process."""
    try:
        async with asyncio.timeout(START_S):
            message = await started.receive()
    except (EndedError, TimeoutError) as error:
        raise NotStartedError("it ended, or took too long, before it could decode") from error
    if message != READY:
        raise NotStartedError("it did not say that it is ready")
