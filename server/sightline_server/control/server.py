"""The server's end of the control socket.

Rule: the socket is in a runtime folder of mode 0700, so the kernel keeps other users out. A server that cannot
create such a folder serves all the same and says that it cannot be controlled; SIGHUP reloads it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sightline_server import runtime_folder
from sightline_server.control.protocol import MOST_BYTES, SOCKET, Reload, names_of, report_line
from sightline_server.errors import SightlineError

log = logging.getLogger(__name__)

REQUEST_S = 5.0
"""Seconds that a request may take to arrive."""
MOST_CALLS = 8
"""Calls at once; further ones are closed."""


@asynccontextmanager
async def control_socket(reload: Reload) -> AsyncIterator[None]:
    """Answers control calls for the length of the block."""
    runtime_folder.remove_orphans()
    try:
        folder = runtime_folder.RuntimeFolder()
    except SightlineError as error:
        log.warning("no control socket, so `sightline catalog reload` cannot reach this server: %s", error.message)
        yield
        return
    control = Control(reload)
    try:
        server = await asyncio.start_unix_server(control.answer, folder.path / SOCKET, limit=MOST_BYTES)
        try:
            yield
        finally:
            server.close()
            await control.end()
    finally:
        folder.close()


class Control:
    """Answers calls one by one, each on its own connection."""

    def __init__(self, reload: Reload) -> None:
        self._reload = reload
        self._calls: set[asyncio.Task[None]] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a request, the work, its report. A caller that disconnects does not end the work."""
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        try:
            if len(self._calls) <= MOST_CALLS:
                await self._exchange(reader, writer)
        except (TimeoutError, ValueError, ConnectionError) as error:
            log.warning("a control call failed: %s", type(error).__name__)
        finally:
            self._calls.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_S):
            names = names_of(await reader.readline())
        writer.write(report_line(await self._reload(names)))
        await writer.drain()

    async def end(self) -> None:
        """Ends the calls that are open."""
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
