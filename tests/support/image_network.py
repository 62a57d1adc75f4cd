"""The network that image downloads see in tests: names with the addresses that a test gives them, all on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import httpcore

from sightline_server.ingest.direct_transport import CheckedNetwork
from sightline_server.ingest.host_check import HostCheck

PUBLIC = "93.184.215.14"
"""A public address, which no test reaches: connections to it lead to loopback."""

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Names:
    """A resolver. Of several answers for one name it gives one after the other, the last one for ever."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.asked: list[str] = []
        self._answers = {name.replace("_", "."): list(lists) for name, lists in answers.items()}

    async def __call__(self, name: str) -> Sequence[str]:
        """The addresses of `name`. Raises `OSError` for one that is not known."""
        self.asked.append(name)
        if name not in self._answers:
            raise OSError("Name or service not known")
        left = self._answers[name]
        return left.pop(0) if len(left) > 1 else left[0]


class LoopbackNetwork(httpcore.AsyncNetworkBackend):
    """Connects to a port of this machine in place of every address, and notes which addresses it was asked for."""

    def __init__(self, dead: Sequence[str] = ()) -> None:
        self.connected: list[tuple[str, int]] = []
        self._dead = dead
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to `port` of loopback, unless `host` is one of the dead addresses."""
        self.connected.append((host, port))
        if host in self._dead:
            raise httpcore.ConnectError("connection refused")
        return await self._network.connect_tcp("127.0.0.1", port, timeout, local_address, socket_options)


def private_network() -> CheckedNetwork:
    """The network of a build with `--allow-private-images`."""
    return CheckedNetwork(HostCheck(allow_private=True))


class Listener:
    """A server on a free port of loopback that gives every connection `answer` and counts them."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.requests: list[bytes] = []


@asynccontextmanager
async def listening(answer: Answer, **options: object) -> AsyncIterator[Listener]:
    """A `Listener` for the length of the block; `options` are those of `asyncio.start_server`."""
    listener, writers, conversations = Listener(), [], []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.connections += 1
        writers.append(writer)
        conversations.append(asyncio.current_task())
        try:
            while True:
                listener.requests.append(await reader.readuntil(b"\r\n\r\n"))
                await answer(writer)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, **options)  # type: ignore[arg-type]
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*filter(None, conversations))


def reply(body: bytes = b"image", status: str = "200 OK", *headers: str) -> Answer:
    """Answers every request with `status`, `headers` and `body`."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()

    return answer
