"""Pictures over real connections: servers that redirect, drip, stop half-way, or are not there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sightline_server.ingest.images import ImageLimits, ImageSource, UnreadableImageError

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def web(answer: Answer) -> AsyncIterator[str]:
    """A server on a free port that gives every request `answer`."""
    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        try:
            await answer(writer)
        except ConnectionError:
            return
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.jpg"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def read(link: str, root: Path, **limits: float) -> bytes:
    async with ImageSource(root, ImageLimits(max_bytes=1000, **limits)) as source:  # type: ignore[arg-type]
        return await source.read(link)


async def test_a_download(tmp_path: Path) -> None:
    async def whole(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npicture")
        await writer.drain()

    async with web(whole) as link:
        assert await read(link, tmp_path) == b"picture"


async def test_a_redirect_to_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")

    async def redirect(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: file://{tmp_path}/secret\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    async with web(redirect) as link:
        with pytest.raises(UnreadableImageError, match="UnsupportedProtocol"):
            await read(link, tmp_path)


async def test_a_server_that_drips_is_left(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nx")
        await writer.drain()
        await left.wait()

    async with web(drip) as link:
        with pytest.raises(UnreadableImageError, match=r"within 0\.2 s"):
            await read(link, tmp_path, timeout_s=0.2)
        left.set()


async def test_a_body_that_stops_half_way_is_no_picture(tmp_path: Path) -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf")
        await writer.drain()

    async with web(half) as link:
        with pytest.raises(UnreadableImageError, match="RemoteProtocolError"):
            await read(link, tmp_path)


async def test_nobody_there(tmp_path: Path) -> None:
    async def nothing(writer: asyncio.StreamWriter) -> None:
        raise AssertionError

    async with web(nothing) as link:
        pass
    with pytest.raises(UnreadableImageError, match="ConnectError"):
        await read(link, tmp_path)
