"""Images over real connections: servers that redirect, drip, stop half-way, or are not there, and proxies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sightline_server.ingest.direct_transport import CheckedNetwork
from sightline_server.ingest.host_check import HostCheck
from sightline_server.ingest.hosts import RetryLimits
from sightline_server.ingest.images import ImageLimits, ImageSource, UnreadableImageError
from tests.support.image_network import PUBLIC, Names, private_network

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
    retry = RetryLimits(first_wait_s=0.01, longest_wait_s=0.01)
    bounds = ImageLimits(max_bytes=1000, retry=retry, **limits)  # type: ignore[arg-type]
    async with ImageSource(root, bounds, network=private_network()) as source:
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
        with pytest.raises(UnreadableImageError, match="not http or https"):
            await read(link, tmp_path)


async def test_a_server_that_drips_is_left(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nx")
        await writer.drain()
        await left.wait()

    async with web(drip) as link:
        with pytest.raises(UnreadableImageError, match=r"within 1 s"):
            await read(link, tmp_path, timeout_s=1.0)
        left.set()


async def test_a_body_that_stops_half_way_is_no_picture(tmp_path: Path) -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf")
        await writer.drain()

    async with web(half) as link:
        with pytest.raises(UnreadableImageError, match="before the whole image"):
            await read(link, tmp_path)


async def test_nobody_there(tmp_path: Path) -> None:
    async def nothing(writer: asyncio.StreamWriter) -> None:
        raise AssertionError

    async with web(nothing) as link:
        pass
    with pytest.raises(UnreadableImageError, match="no answer from the image host"):
        await read(link, tmp_path)


IMAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npicture"
Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy but those that a test sets."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def proxy(converse: Converse) -> AsyncIterator[str]:
    """A proxy on a free port; yields its `HOST:PORT`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await converse(reader, writer)
        writer.write(IMAGE)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY"])
async def test_an_http_proxy_is_asked_for_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    heads = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))

    async with proxy(converse) as address:
        monkeypatch.setenv(name, f"http://user:secret@{address}")
        assert await read("http://cdn.shop.example/a.jpg", tmp_path) == b"picture"
    assert heads[0].startswith(b"GET http://cdn.shop.example/a.jpg HTTP/1.1\r\n")
    assert b"proxy-authorization: basic" in heads[0].lower()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_is_not_asked_for_hosts_that_are_private_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    asked = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))

    names = Names(inner_example=[["10.0.0.1"]], mixed_example=[[PUBLIC, "fd00::1"]])
    hosts = [
        "inner.example",
        "mixed.example",
        "10.0.0.1",
        "0xa9fea9fe",
        "2852039166",
        "[fd00::1]",
        "metadata.goog",
        "x.internal",
    ]
    async with proxy(converse) as address:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://{address}")
        async with ImageSource(tmp_path, ImageLimits(), network=CheckedNetwork(HostCheck(lookup=names))) as source:
            for host in hosts:
                with pytest.raises(UnreadableImageError, match="no answer from the image host"):
                    await source.read(f"http://{host}/a.jpg")
    assert asked == []


async def test_a_redirect_through_a_proxy_is_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server, ImageSource(tmp_path, ImageLimits()) as source:
        with pytest.raises(UnreadableImageError, match="requested through the proxy of http_proxy"):
            await source.read("http://cdn.shop.example/a.jpg")
    assert [head.split(b" ")[1] for head in heads] == [b"http://cdn.shop.example/a.jpg"]


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_a_socks_proxy_is_asked_for_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    hosts = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """RFC 1928: no authentication, then CONNECT to a name."""
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        *_, length = await reader.readexactly(5)
        hosts.append(await reader.readexactly(length))
        await reader.readexactly(2)
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await reader.readuntil(b"\r\n\r\n")

    async with proxy(converse) as address:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://{address}")
        assert await read("http://cdn.shop.example/a.jpg", tmp_path) == b"picture"
    assert hosts == [b"cdn.shop.example"]


async def test_a_proxy_that_is_down_is_named_and_loopback_does_not_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def whole(writer: asyncio.StreamWriter) -> None:
        writer.write(IMAGE)
        await writer.drain()

    async with proxy(whole) as address:  # type: ignore[arg-type]
        pass
    monkeypatch.setenv("http_proxy", f"http://user:secret@{address}")
    with pytest.raises(
        UnreadableImageError, match=r"no answer .* \(requested through the proxy of http_proxy\)"
    ) as caught:
        await read("http://cdn.shop.example/a.jpg", tmp_path)
    assert "secret" not in str(caught.value)
    async with web(whole) as link:
        assert await read(link, tmp_path) == b"picture"
