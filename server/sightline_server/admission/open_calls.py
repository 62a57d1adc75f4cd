"""Open calls by connection and in all, and how many of them there may be.

Rule: a refusal is immediate and says which of the two bounds was reached. A connection is a peer address with its port;
callers on a Unix socket have none, so only the bound in all applies to them.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sightline_server.admission.refusal import overloaded
from sightline_server.errors import SightlineError


class OpenCalls:
    """At most `most` calls, of which at most `most_of_one` on one connection. `name` is their plural in messages.

    `on_count` is called with the number of open calls whenever it changes.
    """

    def __init__(
        self,
        *,
        most: int,
        most_of_one: int,
        name: str = "calls",
        on_count: Callable[[int], object] = lambda calls: None,
    ) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._name = name
        self._plural = name.replace("_", " ")
        self._on_count = on_count
        self._by_peer: Counter[str] = Counter()
        self._count = 0

    @property
    def count(self) -> int:
        """Open calls."""
        return self._count

    @contextmanager
    def enter(self, peer: str) -> Iterator[None]:
        """Counts a call of the connection `peer` for the length of the block. Raises `SightlineError`."""
        refusal = self._refusal(peer)
        if refusal is not None:
            raise refusal
        self._change(peer, 1)
        try:
            yield
        finally:
            self._change(peer, -1)

    def _refusal(self, peer: str) -> SightlineError | None:
        if self._by_peer[peer] >= self._most_of_one and not peer.startswith("unix"):
            return overloaded(
                f"connection_{self._name}", f"more than {self._most_of_one} {self._plural} are open on this connection"
            )
        if self._count >= self._most:
            return overloaded(f"open_{self._name}", f"more than {self._most} {self._plural} are open")
        return None

    def _change(self, peer: str, by: int) -> None:
        self._count += by
        self._by_peer[peer] += by
        if not self._by_peer[peer]:
            del self._by_peer[peer]
        self._on_count(self._count)
