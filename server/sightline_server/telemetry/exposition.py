"""`/metrics` over HTTP: one event loop in a separate thread reads requests, and a few threads answer whole ones.

Rule: a connection that sends slowly, or half of a request, costs a socket and nothing else, and only for seconds. The
searches' event loop takes no part. HTTP is h11's, formats and compression are the Prometheus client's.
"""

import asyncio
import logging
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import h11
from prometheus_client import CollectorRegistry, make_wsgi_app

log = logging.getLogger(__name__)

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
"""Connections that the kernel accepts before the event loop does; beyond them a caller waits a second to try again."""
READ_BYTES = 4096
HEAD = b"HEAD"

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
        self._open: dict[Exchange, None] = {}
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = min(MOST_CONNECTIONS, max(1, descriptors // DESCRIPTOR_SHARE))

    def run(self) -> None:
        """Serves; to be called in a separate thread."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def stop(self) -> None:
        """Ends `run` soon. Connections that are open are closed."""
        self._loop.call_soon_threadsafe(self._stopped.set)

    def opened(self, exchange: "Exchange") -> None:
        """Notes a connection. With too many of them the oldest gives way."""
        self._open[exchange] = None
        if len(self._open) > self._most:
            # A caller that sends and reads without pauses is done long before.
            next(iter(self._open)).end()

    def closed(self, exchange: "Exchange") -> None:
        """Forgets a connection."""
        self._open.pop(exchange, None)

    def making(self, request: h11.Request) -> "asyncio.Future[list[h11.Event]]":
        """The answer to a whole request, made in a thread."""
        return self._loop.run_in_executor(self._threads, self._made, request)

    async def _serve(self) -> None:
        server = await self._loop.create_server(lambda: Exchange(self), sock=self._listener, backlog=BACKLOG)
        try:
            await self._stopped.wait()
        finally:
            server.close()
            for exchange in tuple(self._open):
                exchange.end()
            await asyncio.sleep(0)  # their sockets are closed in the loop's next turn

    def _made(self, request: h11.Request) -> list[h11.Event]:
        """The answer to a whole request, as the client library makes it for any WSGI server."""
        path, _, query = request.target.decode("latin-1").partition("?")
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        environ = {
            # HEAD, with which some balancers probe, gets the head of the answer to GET, and no body.
            "REQUEST_METHOD": "GET" if request.method == HEAD else request.method.decode("latin-1"),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "HTTP_ACCEPT": fields.get("accept", ""),
            "HTTP_ACCEPT_ENCODING": fields.get("accept-encoding", ""),
        }
        started: list[tuple[str, list[tuple[str, str]]]] = []
        body = b"".join(self._application(environ, lambda status, headers: started.append((status, headers))))
        ((status, headers),) = started
        head = [*headers, ("Content-Length", str(len(body))), ("Connection", "close")]
        content = [] if request.method == HEAD else [h11.Data(data=body)]
        return [
            h11.Response(status_code=int(status.partition(" ")[0]), headers=head),
            *content,
            h11.EndOfMessage(),
        ]


class Exchange(asyncio.Protocol):
    """One connection of `server`: a request and its answer, or an end.

    Callbacks and no task: a thousand callers that only connect cost the event loop as little as they can.
    """

    _transport: asyncio.Transport
    _limit: asyncio.TimerHandle

    def __init__(self, server: MetricsServer) -> None:
        self._server = server
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=REQUEST_BYTES)
        self._answer: asyncio.Future[list[h11.Event]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`: the request must arrive in its time."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._end_in(REQUEST_S)
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`: the answer to a whole request is begun, bytes that are none are refused."""
        try:
            self._connection.receive_data(data)
            event = self._connection.next_event()
        except h11.RemoteProtocolError as error:
            self._send([refusal(error.error_status_hint)])
            return
        if isinstance(event, h11.Request):
            self._limit.cancel()
            self._transport.pause_reading()
            self._answer = self._server.making(event)
            self._answer.add_done_callback(self._made)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._limit.cancel()
        if self._answer is not None:
            # One that has not begun need not be made.
            self._answer.cancel()
        self._server.closed(self)

    def end(self) -> None:
        """Closes the connection at once; closing in order would wait for what is not read."""
        if self._answer is not None:
            self._answer.cancel()
        self._server.closed(self)
        self._transport.abort()

    def _made(self, answer: "asyncio.Future[list[h11.Event]]") -> None:
        if answer.cancelled():
            return
        try:
            events = answer.result()
        except Exception:  # a collector of another package can raise anything
            log.exception("metrics: an answer could not be made")
            events = [refusal(500)]
        self._send(events)

    def _send(self, events: list[h11.Event]) -> None:
        """Sends an answer, which must be read in its time, and closes the connection."""
        self._end_in(ANSWER_S)
        # Not by `writelines`: from Python 3.12 on it keeps an empty last part, such as the end of a message, as
        # something to be sent, and the event loop turns without a pause until the connection is ended.
        try:
            data = b"".join(self._connection.send(event) or b"" for event in events)
        except h11.LocalProtocolError:
            log.exception("metrics: an answer is not valid HTTP")
            self.end()
            return
        self._transport.write(data)
        self._transport.close()

    def _end_in(self, seconds: float) -> None:
        self._limit = asyncio.get_running_loop().call_later(seconds, self.end)


def refusal(status: int) -> h11.Response:
    """The answer to bytes that are not a request."""
    return h11.Response(status_code=status, headers=[("Content-Length", "0"), ("Connection", "close")])
