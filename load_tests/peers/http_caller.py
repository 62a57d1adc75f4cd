"""Makes single calls over HTTP and notes what became of each, as `load_tests.caller` does over gRPC.

Rule: light. Bodies are made before the run and answers are never parsed: the objects of an answer are counted by their
ids. Each call has a connection of its own, so that the kernel gives it to a worker that is free to take it.
"""

import asyncio
from collections.abc import Sequence

import httpx

from load_tests.caller import PATIENT, Caller, Manner
from load_tests.records import CODES, UNANSWERED

OBJECT = b'"object_id"'
STATUS = {200: "OK", 400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 503: "RESOURCE_EXHAUSTED"}
"""HTTP status -> the code under which a run counts it; every other one is INTERNAL."""


class HttpCaller(Caller):
    """Posts a fixed list of bodies to the URL `target`. `connections` says nothing here: each call makes its own."""

    def __init__(
        self,
        target: str,
        requests: Sequence[bytes],
        *,
        connections: int,
        deadline_s: float,
        content_type: str,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url, self._requests, self._deadline_s = target, requests, deadline_s
        self._client = httpx.AsyncClient(
            headers={"content-type": content_type},
            timeout=None,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            transport=transport,
        )
        self.rows = []
        self.started = 0.0

    async def connect(self) -> None:
        """Nothing stands before the first call."""

    async def close(self) -> None:
        """Ends what is left of connections."""
        await self._client.aclose()

    async def call(self, place: int, request: int, intended: float, manner: Manner = PATIENT) -> str:
        """Makes one call, adds its row, and returns its code; always patient."""
        sent, code, objects = self.now, UNANSWERED, 0
        try:
            async with asyncio.timeout(self._deadline_s):
                response = await self._client.post(self._url, content=self._requests[request])
            code = STATUS.get(response.status_code, "INTERNAL")
            objects = response.content.count(OBJECT) if code == "OK" else 0
        except TimeoutError:
            pass
        except httpx.HTTPError:
            code = "UNAVAILABLE"
        ended = self.now
        # The answer comes in one piece: what is known of it is known at its end.
        seen = (ended,) * 3 if code == "OK" else (0.0,) * 3
        self.rows.append((intended, sent, *seen, ended, CODES.index(code), objects, 0, request, False))
        return code
