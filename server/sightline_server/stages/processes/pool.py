"""The decode processes of a server: started when a photo needs one, ended when none has needed it for a while.

    none -> starting -> decoding -> resting -> decoding ...
                           |           `-> ended after `REST_S`, so that its memory is forgotten
                           `-> killed: its photo took too long, its call was cancelled, or it crashed
Rule: whatever a photo does to its process is an error of this photo only; a slot counts as taken until the process
that held it is gone.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.image import Frame
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.stages.colours import to_srgb
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.processes.memory_files import mapped, memory_file
from sightline_server.stages.processes.messages import GO, Decoded, Header, NonsenseError, Order
from sightline_server.stages.processes.process import (
    DecodeProcess,
    EndedError,
    NotStartedError,
    ProcessLimits,
    start,
    until_ready,
)
from sightline_server.stages.refusals import corrupt, too_expensive, too_much_memory, too_slow
from sightline_server.stages.uncancelled import ended

log = logging.getLogger(__name__)

REST_S = 5.0
"""An idle process ends after it: as long as the server's memory takes to forget (docs/design/adr/0011)."""
ENDS = ("crashed", "timeout", "cancelled")
"""Reasons for which a process ended while it decoded."""

Room = Callable[[int], AbstractAsyncContextManager[None]]
"""Waits for and holds so many bytes of the memory that large photos share."""


@dataclass(frozen=True, slots=True)
class DecodedPhoto:
    """Pixels uint8 [H,W,3] and the ICC profile of a photo; the pixels lie in the memory file itself."""

    pixels: NDArray[np.uint8]
    profile: bytes

    def frame(self) -> Frame:
        """The frame; reading a profile takes milliseconds."""
        return Frame(self.pixels, to_srgb(self.profile))


class DecodeProcesses:
    """At most `limits.count` processes. `on_end` gets the reason when one ended while it decoded, one of `ENDS`."""

    def __init__(self, limits: ProcessLimits, on_end: Callable[[str], object] = lambda reason: None) -> None:
        self._limits = limits
        self._on_end = on_end
        self._places = asyncio.Semaphore(limits.count)
        self._all: set[DecodeProcess] = set()
        self._idle: dict[DecodeProcess, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[int]] = set()

    @property
    def pids(self) -> list[int]:
        """The ids of the running processes."""
        return [process.pid for process in self._all]

    async def decode(self, file: int, photo_format: str, limits: DecodeLimits, room: Room) -> DecodedPhoto:
        """Decodes the photo in the memory file `file`, one in `photo_format`.

        Raises `SightlineError`: of kind INVALID_IMAGE or LIMIT_EXCEEDED for the photo's own faults, of kind INTERNAL
        when no process can be started. Cancelled, it returns when the process is gone.
        """
        async with self._places, AsyncExitStack() as held:
            process = await self._ordered(file, limits)
            try:
                decoded = await self._exchange(process, limits, room, held)
            except SightlineError:  # a refusal: the process is sound
                self._rest(process)
                raise
            except TimeoutError:
                await self._kill(process, "timeout")
                raise too_slow(self._limits.timeout_s) from None
            except (EndedError, NonsenseError) as error:
                raise await self._crashed(process, photo_format) from error
            except OSError as error:  # there is no memory for the photo's file or its mapping
                await self._kill(process, "cancelled")
                raise too_much_memory() from error
            except BaseException:
                await self._kill(process, "cancelled")
                raise
            self._rest(process)
            return decoded

    async def close(self) -> None:
        """Kills every process and returns when they are gone. What is being decoded fails."""
        while self._idle:
            self._idle.popitem()[1].cancel()
        for process in tuple(self._all):
            self._end(process)
        if self._ending:
            await asyncio.wait(self._ending)

    async def _ordered(self, file: int, limits: DecodeLimits) -> DecodeProcess:
        """A process that has received the order; one that was killed while it was idle is replaced."""
        order = Order(limits).encode()
        while True:
            process, is_new = await self._sound()
            try:
                process.send(order, file)
                return process
            except EndedError as error:
                await ended(self._end(process))
                if is_new:
                    raise internal("it ended at once") from error

    async def _sound(self) -> tuple[DecodeProcess, bool]:
        """A process that rests, or else a new one, and whether it is new."""
        if self._idle:
            process, timer = self._idle.popitem()
            timer.cancel()
            return process, False
        try:
            process = await start(self._limits)
            self._all.add(process)
            try:
                await until_ready(process)
            except BaseException:
                await ended(self._end(process))
                raise
        except NotStartedError as error:
            raise internal(str(error)) from error
        return process, True

    async def _exchange(
        self, process: DecodeProcess, limits: DecodeLimits, room: Room, held: AsyncExitStack
    ) -> DecodedPhoto:
        """The conversation about one photo. `held` releases its memory after the process has finished."""
        async with asyncio.timeout(self._limits.elapsed_s):
            header = Header.decode(await process.receive())
        await held.enter_async_context(room(header.weight))
        size = header.room(limits)
        with memory_file(size) as file:
            process.send(GO, file)
            async with asyncio.timeout(self._limits.elapsed_s):
                decoded = Decoded.decode(await process.receive(), size)
            content = mapped(file, decoded.pixels + decoded.profile)
        pixels = content[: decoded.pixels].reshape(decoded.height, decoded.width, 3)
        return DecodedPhoto(pixels, content[decoded.pixels :].tobytes())

    async def _crashed(self, process: DecodeProcess, photo_format: str) -> SightlineError:
        """Ends a process that crashed or sent an invalid message; returns the error of its photo."""
        ending = self._end(process)
        await ended(ending)
        code = ending.result()
        slow = code == -signal.SIGXCPU
        self._on_end("timeout" if slow else "crashed")
        if slow:
            return too_slow(self._limits.timeout_s)
        log.warning("a decode process ended with exit code %d while it decoded", code)
        # The kernel sends SIGKILL when memory runs out; from another sender it says nothing about the photo either.
        return too_expensive() if code == -signal.SIGKILL else corrupt(photo_format)

    async def _kill(self, process: DecodeProcess, reason: str) -> None:
        await ended(self._end(process))
        self._on_end(reason)

    def _rest(self, process: DecodeProcess) -> None:
        """Keeps a process for the next photo, for some seconds."""
        self._idle[process] = asyncio.get_running_loop().call_later(REST_S, self._retire, process)

    def _retire(self, process: DecodeProcess) -> None:
        self._idle.pop(process).cancel()
        self._end(process)

    def _end(self, process: DecodeProcess) -> asyncio.Task[int]:
        """Kills a process; the task ends when it is gone."""
        self._all.discard(process)
        ending = asyncio.create_task(process.end(), name="decode-process-end")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending


def internal(reason: str) -> SightlineError:
    """The error of a photo for which there is no process; the reason is for the log."""
    log.error("no decode process: %s", reason)
    return SightlineError(ErrorKind.INTERNAL, "internal error")
