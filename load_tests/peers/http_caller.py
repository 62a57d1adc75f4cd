"""Makes single calls over HTTP and notes what became of each, as `load_tests.generator.caller` does over gRPC.

Rule: as light as the other one, or the peers would pay for their own load (h11 on asyncio's streams costs a third of an
HTTP client's CPU). Bodies are made before the run and answers are never parsed: objects are counted by their ids. Each
call has its own connection, so that the kernel gives it to a worker that is free to take it.
"""

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

import h11

from load_tests.generator.caller import PATIENT, Caller, Manner
from load_tests.generator.records import CODES, UNANSWERED

OBJECT = b'"object_id"'
STATUS = {200: "OK", 400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 503: "RESOURCE_EXHAUSTED"}
"""HTTP status -> the code under which a run counts it; every other one is INTERNAL."""
READ_BYTES = 65536


class HttpCaller(Caller):
    """Posts a fixed list of bodies to the URL `target`. `connections` says nothing here: each call makes its own."""

    def __init__(
        self, target: str, requests: Sequence[bytes], *, connections: int, deadline_s: float, content_type: str
    ) -> None:
        self._url, self._requests, self._deadline_s = urlsplit(target), requests, deadline_s
        self._content_type = content_type
        self.rows = []
        self.started = 0.0

    async def connect(self) -> None:
        """No set-up is needed before the first call."""

    async def close(self) -> None:
        """Nothing is left after the last one."""

    async def call(self, place: int, request: int, intended: float, manner: Manner = PATIENT) -> str:
        """Makes one call, adds its row, and returns its code; always patient."""
        sent, code, objects = self.now, UNANSWERED, 0
        try:
            async with asyncio.timeout(self._deadline_s):
                status, content = await self._post(self._requests[request])
            code = STATUS.get(status, "INTERNAL")
            objects = content.count(OBJECT) if code == "OK" else 0
        except TimeoutError:
            pass
        except (OSError, h11.RemoteProtocolError):
            code = "UNAVAILABLE"
        ended = self.now
        # The answer comes in one piece: what is known of it is known at its end.
        seen = (ended,) * 3 if code == "OK" else (0.0,) * 3
        self.rows.append((intended, sent, *seen, ended, CODES.index(code), objects, 0, request, False))
        return code

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        """Status and content of the answer."""
        reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        try:
            connection = h11.Connection(h11.CLIENT)
            headers = [
                *(("host", self._url.netloc), ("connection", "close")),
                *(("content-type", self._content_type), ("content-length", str(len(body)))),
            ]
            request = h11.Request(method="POST", target=self._url.path, headers=headers)
            writer.write(connection.send(request) or b"")
            writer.write(connection.send(h11.Data(data=body)) or b"")
            connection.send(h11.EndOfMessage())
            return await read_answer(connection, reader)
        finally:
            writer.close()


async def read_answer(connection: h11.Connection, reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status and content that come next."""
    status, parts = 0, list[bytes]()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            parts.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            return status, b"".join(parts)
