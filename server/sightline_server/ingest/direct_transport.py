"""Direct connections to image hosts, without a proxy.

Rule: the library connects to a host through `CheckedNetwork` only, which asks `HostCheck` for the addresses. The name
stays the one of the link for TLS (server name and certificate), for the Host header, and for the reuse of connections.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress

import httpcore
import httpx

from sightline_server.ingest.host_check import HostCheck, UnreachableImageError

ATTEMPT_S = 1.0
"""Longest time that one address may take to accept a connection while there is another to try."""

FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to hosts at the addresses that `hosts` allows; `network` is for tests."""

    def __init__(self, hosts: HostCheck, network: httpcore.AsyncNetworkBackend | None = None) -> None:
        self.hosts = hosts
        self._network = network or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  (the library's interface)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to one address of `host`, the first that accepts it. Raises `UnreachableImageError`."""

        async def connected(address: str, limit_s: float | None) -> httpcore.AsyncNetworkStream:
            stream = await self._network.connect_tcp(address, port, limit_s, local_address, socket_options)
            try:
                self.hosts.check_other_machine(host, address, stream.get_extra_info("client_addr"))
            except UnreachableImageError:
                await stream.aclose()
                raise
            return stream

        try:
            async with asyncio.timeout(timeout):
                *others, last = await self.hosts.addresses(host)
                for address in others:
                    with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                        return await connected(address, ATTEMPT_S)
                return await connected(last, timeout)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error


class DirectTransport(httpx.AsyncBaseTransport):
    """Sends requests over connections of `network`.

    httpx's own transport takes no network. This one is built from public parts, so that another version of httpx
    cannot leave out the check.
    """

    def __init__(self, network: CheckedNetwork) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=network,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends one request. Raises `httpx.TransportError` and what the network raises."""
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        assert isinstance(request.stream, httpx.AsyncByteStream)
        sent = httpcore.Request(
            request.method, url, headers=request.headers.raw, content=request.stream, extensions=request.extensions
        )
        with as_transport_errors():
            answer = await self._pool.handle_async_request(sent)
        assert isinstance(answer.stream, AsyncIterable)
        body = Body(answer.stream)
        return httpx.Response(answer.status, headers=answer.headers, stream=body, extensions=answer.extensions)

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._pool.aclose()


class Body(httpx.AsyncByteStream):
    """The body of an answer, part by part."""

    def __init__(self, parts: AsyncIterable[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with as_transport_errors():
            async for part in self._parts:
                yield part

    async def aclose(self) -> None:
        """Gives the connection back, or closes it where the body was not read to its end."""
        close = getattr(self._parts, "aclose", None)
        if close is not None:
            await close()


@contextmanager
def as_transport_errors() -> Iterator[None]:
    """Turns the errors of the library below into the one that callers of httpx expect."""
    try:
        yield
    except FAILURES as error:
        raise httpx.TransportError(type(error).__name__) from error
