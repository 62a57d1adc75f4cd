"""The decode processes of a server: one for each photo that needs one, forked when its turn comes.

    forked -> decoding -> killed: its photo is decoded or refused, took too long, was cancelled, or crashed it
Rule: whatever a photo does to its process is an error of this photo only, and no other photo ever meets that process; a
slot counts as taken until the process that held it is gone. The fork server is started with the first photo and
stays: it has seen none.
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
from sightline_server.stages.memory_files import mapped, memory_file
from sightline_server.stages.processes.link import ForkServerLink
from sightline_server.stages.processes.messages import GO, Decoded, Header, NonsenseError, Order
from sightline_server.stages.processes.process import DecodeProcess, EndedError, NotStartedError, ProcessLimits
from sightline_server.stages.refusals import corrupt, too_expensive, too_much_memory, too_slow
from sightline_server.stages.uncancelled import ended

log = logging.getLogger(__name__)

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
        self._slots = asyncio.Semaphore(limits.count)
        self._link: ForkServerLink | None = None
        self._starting = asyncio.Lock()
        self._closed = False
        self._running: set[DecodeProcess] = set()
        self._ending: set[asyncio.Task[int]] = set()

    @property
    def pids(self) -> list[int]:
        """The ids of the running processes."""
        return [process.pid for process in self._running]

    async def decode(self, file: int, photo_format: str, limits: DecodeLimits, room: Room) -> DecodedPhoto:
        """Decodes the photo in the memory file `file`, one in `photo_format`.

        Raises `SightlineError`: of kind INVALID_IMAGE or LIMIT_EXCEEDED for the photo's own faults, of kind INTERNAL
        when no process can be started. Cancelled, it returns when the process is gone.
        """
        process = await self._forked()
        async with AsyncExitStack() as held:
            try:
                process.send(Order(limits).encode(), file)
                decoded = await self._exchange(process, limits, room, held)
            except SightlineError:  # a refusal: the process is sound
                self._end(process)
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
            # Its memory is being given back while the photo goes on.
            self._end(process)
            return decoded

    async def close(self) -> None:
        """Kills every process and returns when they are gone. What is being decoded fails, and so does what comes."""
        self._closed = True
        for process in tuple(self._running):
            self._end(process)
        if self._ending:
            await asyncio.wait(self._ending)
        # A fork server that is being started is there when its lock is free.
        async with self._starting:
            if self._link is not None:
                link, self._link = self._link, None
                await link.end()

    async def _forked(self) -> DecodeProcess:
        """A new process that can decode, when a slot is free; its end frees the slot."""
        await self._slots.acquire()
        forking = asyncio.create_task(self._fork(), name="decode-process-fork")
        try:
            process = await asyncio.shield(forking)
        except NotStartedError as error:
            self._slots.release()
            raise internal(str(error)) from error
        except asyncio.CancelledError:
            await self._forked_in_vain(forking)
            raise
        self._running.add(process)
        try:
            await process.until_ready()
        except NotStartedError as error:
            await ended(self._end(process))
            raise internal(str(error)) from error
        except BaseException:
            await ended(self._end(process))
            raise
        return process

    async def _fork(self) -> DecodeProcess:
        return await (await self._fork_server()).fork()

    async def _forked_in_vain(self, forking: "asyncio.Task[DecodeProcess]") -> None:
        """Returns when the process of a call that was cancelled is gone."""
        await ended(forking)
        if forking.cancelled() or forking.exception() is not None:
            self._slots.release()
        else:
            self._running.add(forking.result())
            await ended(self._end(forking.result()))

    async def _fork_server(self) -> ForkServerLink:
        """The fork server, a new one where there is none or it has ended. Raises `NotStartedError`."""
        async with self._starting:
            if self._link is not None and not self._link.running:
                await self._link.end()
                self._link = None
            if self._closed:
                raise NotStartedError("the server is stopping")
            if self._link is None:
                self._link = await ForkServerLink.start(self._limits)
            return self._link

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

    def _end(self, process: DecodeProcess) -> "asyncio.Future[int]":
        """Kills a process, once; the future is done when it is gone."""
        if process in self._running:
            self._running.discard(process)
            ending = asyncio.create_task(process.end(), name="decode-process-end")
            self._ending.add(ending)
            ending.add_done_callback(self._gone)
        return process.gone

    def _gone(self, ending: asyncio.Task[int]) -> None:
        self._ending.discard(ending)
        self._slots.release()


def internal(reason: str) -> SightlineError:
    """The error of a photo for which there is no process; the reason is for the log."""
    log.error("no decode process: %s", reason)
    return SightlineError(ErrorKind.INTERNAL, "internal error")
