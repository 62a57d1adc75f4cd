"""`/metrics` over HTTP: one event loop in a separate thread reads requests, and a few threads answer whole ones.

Rule: a connection that sends slowly, or half of a request, costs a socket and nothing else, and only for seconds. The
searches' event loop takes no part. HTTP is h11's, formats and compression are the Prometheus client's.
"""

import asyncio
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import h11
from prometheus_client import CollectorRegistry, make_wsgi_app

REQUEST_S = 5.0
"""Longest time in seconds for a request to arrive."""
ANSWER_S = 10.0
"""Longest time in seconds for its answer to be read."""
REQUEST_BYTES = 16 * 1024
MOST_CONNECTIONS = 2000
DESCRIPTOR_SHARE = 4
"""Of the descriptors that the process may open, one in so many may be a connection to `/metrics`."""
THREADS = 4
"""Threads that make answers; making one holds the interpreter's lock, so more would not be faster."""
BACKLOG = 1024
READ_BYTES = 4096

Application = Callable[[dict[str, str], Callable[..., Any]], list[bytes]]


@contextmanager
def serving_metrics(host: str, port: int, registry: CollectorRegistry) -> Iterator[int]:
    """Serves `registry` on `host` for the length of the block; gives the port. Raises `OSError` when it is taken."""
    with bound(host, port) as listener, ThreadPoolExecutor(THREADS, thread_name_prefix="scrapes") as threads:
        server = MetricsServer(listener, make_wsgi_app(registry), threads)
        thread = threading.Thread(target=server.run, name="metrics", daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.stop()
            thread.join()


def bound(host: str, port: int) -> socket.socket:
    """A listening socket on the first address of `host`. Raises `OSError`."""
    infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = infos[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class MetricsServer:
    """Answers requests on `listener` with `application` until it is stopped from another thread."""

    def __init__(self, listener: socket.socket, application: Application, threads: ThreadPoolExecutor) -> None:
        self._listener = listener
        self._application = application
        self._threads = threads
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._open: dict[asyncio.Task[Any], None] = {}
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = min(MOST_CONNECTIONS, max(1, descriptors // DESCRIPTOR_SHARE))

    def run(self) -> None:
        """Serves; to be called in a separate thread."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def stop(self) -> None:
        """Ends `run` soon. Connections that are open are closed."""
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._answer, sock=self._listener, limit=REQUEST_BYTES)
        async with server:
            await self._stopped.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: a request and its answer, or an end."""
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = None
        if len(self._open) > self._most:
            # The oldest gives way: a caller that sends and reads without pauses is done long before.
            next(iter(self._open)).cancel()
        try:
            await self._exchange(reader, writer)
            writer.close()
        except (TimeoutError, ConnectionError, asyncio.CancelledError):
            # Closing would wait for what is not read.
            writer.transport.abort()
        finally:
            del self._open[task]

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=REQUEST_BYTES)
        try:
            async with asyncio.timeout(REQUEST_S):
                request = await whole_request(reader, connection)
        except h11.RemoteProtocolError as error:
            answer: list[h11.Event] = [refusal(error.error_status_hint)]
        else:
            if request is None:
                return
            answer = await self._loop.run_in_executor(self._threads, self._made, request)
        async with asyncio.timeout(ANSWER_S):
            writer.writelines(connection.send(event) or b"" for event in answer)
            await writer.drain()

    def _made(self, request: h11.Request) -> list[h11.Event]:
        """The answer to a whole request, as the client library makes it for any WSGI server."""
        path, _, query = request.target.decode("latin-1").partition("?")
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        environ = {
            "REQUEST_METHOD": request.method.decode("latin-1"),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "HTTP_ACCEPT": fields.get("accept", ""),
            "HTTP_ACCEPT_ENCODING": fields.get("accept-encoding", ""),
        }
        started: list[tuple[str, list[tuple[str, str]]]] = []
        body = b"".join(self._application(environ, lambda status, headers: started.append((status, headers))))
        ((status, headers),) = started
        head = [*headers, ("Content-Length", str(len(body))), ("Connection", "close")]
        return [
            h11.Response(status_code=int(status.partition(" ")[0]), headers=head),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ]


async def whole_request(reader: asyncio.StreamReader, connection: h11.Connection) -> h11.Request | None:
    """The request, once all of its headers are there; None when the caller has gone before that."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        connection.receive_data(await reader.read(READ_BYTES))


def refusal(status: int) -> h11.Response:
    """The answer to bytes that are not a request."""
    return h11.Response(status_code=status, headers=[("Content-Length", "0"), ("Connection", "close")])
