"""Forwards the bytes of connections to another address, in both directions."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
CHUNK = 1 << 18


def relayed(
    connect: Callable[[], Awaitable[Connection]],
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """A handler of `asyncio.start_server` that forwards each connection to one of `connect`.

    A connection that cannot be forwarded, or whose other end is closed, is closed.
    """

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward, back = await connect()
        except OSError:
            writer.close()
            return
        first, second = asyncio.create_task(copy(reader, back)), asyncio.create_task(copy(onward, writer))
        with suppress(asyncio.CancelledError):
            await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
        writer.close()
        back.close()
        await asyncio.gather(first, second, return_exceptions=True)

    return handle


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies until the end of `reader`, or until one of the two fails."""
    with suppress(OSError, asyncio.CancelledError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
