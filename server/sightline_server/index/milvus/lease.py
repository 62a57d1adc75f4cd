"""The lease of a catalog in Milvus: one push or one server changes it at a time, on whatever machine that runs.

    attempt -> held, renewed every 5 s -> released         a holder that was silent for 30 s has lost it
Rule: the lease is a collection without rows, whose description says who holds it, because Milvus creates a collection
once. Silence is measured by the clock of the one that waits, so machines need not agree on the time.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.milvus.names import lease_of

BEAT_S = 5.0
SILENT_S = 30.0
"""A holder that does not renew its lease for so long is taken for dead."""
MARGIN_S = 10.0
"""A holder stops so long before others may take the lease; longer than a call of Milvus takes."""
SETTLE_S = 3.0
"""After it took the lease of a dead holder, a new one waits so long: another may have removed the same one."""
POLL_S = 1.0
RETRY_S = 10.0


class Reservations(Protocol):
    """The calls of `client.Milvus` that a lease needs."""

    def reserve(self, name: str, description: str) -> bool:
        """See `Milvus`."""

    def reserved(self, name: str) -> tuple[str, str] | None:
        """See `Milvus`."""

    def beat(self, name: str, value: str) -> None:
        """See `Milvus`."""

    def drop(self, collection: str) -> None:
        """See `Milvus`."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lease; `purpose` is the part of an error that names it, such as "a push"."""

    purpose: str
    host: str = field(default_factory=socket.gethostname)
    process: int = field(default_factory=os.getpid)
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    def text(self) -> str:
        """The holder as the description of a collection."""
        return json.dumps(asdict(self))


def holder_in(description: str) -> str:
    """The holder that a description names, as an error shows it."""
    try:
        found = Holder(**json.loads(description))
    except (ValueError, TypeError):
        return "another program"
    return f"{found.purpose} on {found.host} (process {found.process}) since {found.since}"


class Lease:
    """The lease of `catalog` for one holder. Blocking; `attempt` is for one thread, the rest for any.

    `clock` and `sleep` are for tests.
    """

    def __init__(
        self,
        milvus: Reservations,
        catalog: str,
        holder: Holder,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._milvus, self._catalog, self._mine = milvus, catalog, holder.text()
        self._clock, self._sleep = clock, sleep
        self._name = lease_of(catalog)
        self._seen: tuple[str, str] | None = None
        self._seen_at = self._renewed_at = 0.0
        self._held = False
        self._beats = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.other_alive = False
        """True once another holder has renewed the lease, or taken it, while this one waited."""

    @property
    def other(self) -> str:
        """The holder that was seen, as an error shows it."""
        return holder_in(self._seen[0]) if self._seen else "another program"

    def attempt(self) -> bool:
        """Takes the lease if it is free, or its holder has been silent for `SILENT_S`; returns whether it is held.

        To be called again and again by one that waits. Raises `SightlineError` of kind INDEX_UNAVAILABLE.
        """
        began = self._clock()
        seen = self._milvus.reserved(self._name)
        if seen is None:
            return self._milvus.reserve(self._name, self._mine) and self._took(began)
        if seen[0] == self._mine:
            return self._took(began)
        if seen != self._seen:
            self.other_alive = self._seen is not None
            self._seen, self._seen_at = seen, began
            return False
        return began - self._seen_at >= SILENT_S and self._replaced_dead()

    def _replaced_dead(self) -> bool:
        with suppress(SightlineError):  # another may have removed it first
            self._milvus.drop(self._name)
        began = self._clock()
        if not self._milvus.reserve(self._name, self._mine):
            return False
        self._sleep(SETTLE_S)
        return self._is_mine() and self._took(began)

    def _is_mine(self) -> bool:
        found = self._milvus.reserved(self._name)
        return found is not None and found[0] == self._mine

    def _took(self, at: float) -> bool:
        self._held, self._renewed_at, self._seen = True, at, None
        return True

    def keep(self) -> None:
        """Renews the lease in a thread until `stop` or `release`."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._ended.clear()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{self._catalog}", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self._ended.wait(BEAT_S):
            with suppress(SightlineError):  # `require` counts the time since the last one that succeeded
                self.renew()

    def renew(self) -> None:
        """Shows others that the holder lives. Raises `SightlineError` of kind INDEX_UNAVAILABLE."""
        began = self._clock()
        if not self._is_mine():
            self._held = False
            return
        self._beats += 1
        self._milvus.beat(self._name, str(self._beats))
        self._renewed_at = began

    def require(self) -> None:
        """Raises `SightlineError` of kind INDEX_UNAVAILABLE unless the lease is held for some seconds from now on."""
        if not self._held or self._clock() - self._renewed_at > SILENT_S - MARGIN_S:
            message = (
                f"catalog {self._catalog} in Milvus: this process could not renew its lease, so another one may change "
                "the catalog now; nothing more is written. Try again"
            )
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, message, retry_after_s=RETRY_S)

    def stop(self) -> None:
        """Ends the renewals and leaves the lease, which `attempt` with the same holder takes again at once."""
        self._held = False
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def release(self) -> None:
        """Ends the renewals and removes the lease, so that others need not wait."""
        self.stop()
        with suppress(SightlineError):
            if self._is_mine():
                self._milvus.drop(self._name)


@contextmanager
def holding(milvus: Reservations, catalog: str, purpose: str) -> Iterator[Lease]:
    """The lease of `catalog` for the length of the block, such as for the `purpose` "a push".

    Raises `SightlineError` of kind INDEX_UNAVAILABLE where another one holds it and lives, which it notices after some
    seconds; a dead one is replaced after 30 s.
    """
    lease = Lease(milvus, catalog, Holder(purpose))
    while not lease.attempt():
        if lease.other_alive:
            raise busy(catalog, lease.other)
        time.sleep(POLL_S)
    lease.keep()
    try:
        yield lease
    finally:
        lease.release()


def busy(catalog: str, other: str) -> SightlineError:
    """The error of a catalog that another process changes."""
    message = f"catalog {catalog} in Milvus is being changed by {other}; wait until that has ended, and try again"
    return SightlineError(ErrorKind.INDEX_UNAVAILABLE, message, retry_after_s=RETRY_S)
