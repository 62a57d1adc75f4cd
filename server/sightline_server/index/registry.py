"""The served revisions by name: who leases which, when one replaces another, and when the old one is freed.

    publish -> current -> replaced -> its last lease ends -> freed
A catalog that is written to while it is searched publishes a base; each lease gets the view of that moment on it.
Rule: for the event loop only, so that counting needs no lock. A replaced revision serves those that hold it to their
end and nobody else.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.domain.catalogs import unknown_catalog
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.memory import give_back
from sightline_server.ports import Snapshot

logger = logging.getLogger(__name__)

AWAY_RETRY_S = 2.0


class ClosableSnapshot(Snapshot, Protocol):
    """A snapshot whose memory can be freed."""

    async def close(self) -> None:
        """Frees its memory; later searches are refused."""


class RegistryObserver(Protocol):
    """Is notified of revisions that come and go; the telemetry implements it."""

    def published(self, snapshot: Snapshot) -> None:
        """`snapshot` is the current revision of its catalog from now on."""

    def replaced(self, snapshot: Snapshot) -> None:
        """`snapshot` is no longer the current revision of its catalog."""

    def freed(self, snapshot: Snapshot) -> None:
        """The memory of `snapshot` has been freed."""

    def withdrawn(self, name: str) -> None:
        """Catalog `name` is not served any more. Its revisions are freed when their last leases end."""


@dataclass(eq=False, slots=True)
class Held:
    """A revision and the number of its leases."""

    snapshot: ClosableSnapshot
    view: Callable[[], Snapshot] | None = None
    """Makes the value of a lease where that is not `snapshot` itself."""
    leases: int = 0
    replaced: bool = False


class Registry:
    """`ports.Catalogs`. A catalog is there from its first `publish` on."""

    def __init__(self, observer: RegistryObserver) -> None:
        self._observers = [observer]
        self._current: dict[str, Held] = {}
        self._away: set[str] = set()
        self._old: set[Held] = set()
        self._freeing: set[asyncio.Task[None]] = set()

    def add_observer(self, observer: RegistryObserver) -> None:
        """Notifies `observer` as well from now on, after those that were here before, first of what is current."""
        self._observers.append(observer)
        for held in self._current.values():
            observer.published(held.snapshot)

    @contextmanager
    def lease(self, granted: CatalogPass) -> Iterator[Snapshot]:
        """See `ports.Catalogs`."""
        if granted.catalog in self._away:
            raise catalog_away()
        held = self._current.get(granted.catalog)
        if held is None:
            raise unknown_catalog()
        held.leases += 1
        try:
            yield held.snapshot if held.view is None else held.view()
        finally:
            held.leases -= 1
            if held.replaced and not held.leases:
                self._free(held)

    def embedders(self, granted: CatalogPass) -> dict[str, str]:
        """See `ports.Catalogs`."""
        found = {name: held for name, held in self._current.items() if granted.shows(name)}
        return {name: held.snapshot.embedder for name, held in found.items() if name not in self._away}

    def current(self, name: str) -> Snapshot:
        """The current revision of catalog `name`, for those that only ask about it. Raises KeyError."""
        held = self._current[name]
        return held.snapshot if held.view is None else held.view()

    def is_living(self, name: str) -> bool:
        """Returns whether catalog `name` is written to by this process."""
        return self._current[name].view is not None

    def publish(self, snapshot: ClosableSnapshot, view: Callable[[], Snapshot] | None = None) -> None:
        """Makes `snapshot` the current revision of its catalog; leases from now on are of it.

        With `view` a lease gets what that returns: the base of `snapshot` at the moment of the lease. It returns at
        once, and views of that base alone until the next `publish`.
        """
        before = self._current.get(snapshot.name)
        self._current[snapshot.name] = Held(snapshot, view)
        for observer in self._observers:
            if before is not None:
                observer.replaced(before.snapshot)
            observer.published(snapshot)
        if before is not None:
            self._retire(before)

    def set_away(self, name: str, away: bool) -> None:
        """Refuses leases of catalog `name` as long as it is `away`; it may have no revision yet. Calls inside go on."""
        if away:
            self._away.add(name)
        else:
            self._away.discard(name)

    def withdraw(self, name: str) -> None:
        """Serves catalog `name` no longer; it is freed with its last lease. Without such a catalog it does nothing."""
        if (held := self._current.pop(name, None)) is not None:
            for observer in self._observers:
                observer.replaced(held.snapshot)
                observer.withdrawn(name)
            self._retire(held)

    async def close(self) -> None:
        """Frees every revision, also those that are still leased."""
        held = [*self._current.values(), *self._old]
        self._current.clear()
        self._old.clear()
        for each in held:
            await each.snapshot.close()
        await asyncio.gather(*self._freeing)

    def _retire(self, held: Held) -> None:
        held.replaced = True
        self._old.add(held)
        if not held.leases:
            self._free(held)

    def _free(self, held: Held) -> None:
        if held in self._old:
            self._old.remove(held)
            task = asyncio.get_running_loop().create_task(self._close(held.snapshot))
            self._freeing.add(task)
            task.add_done_callback(self._freeing.discard)

    async def _close(self, snapshot: ClosableSnapshot) -> None:
        try:
            await snapshot.close()
        except Exception:
            logger.exception("catalog %s: revision %s could not be freed", snapshot.name, snapshot.revision)
        else:
            for observer in self._observers:
                observer.freed(snapshot)
            logger.info("catalog %s: revision %s freed", snapshot.name, snapshot.revision)
            # Its products are freed with the last reference.
            del snapshot
            await asyncio.to_thread(give_back)


def catalog_away() -> SightlineError:
    """The refusal of a call for a catalog whose vectors are in another server, which does not answer."""
    message = "catalog: the database that holds it does not answer; try again later, or search another catalog"
    return SightlineError(ErrorKind.INDEX_UNAVAILABLE, message, field="catalog", retry_after_s=AWAY_RETRY_S)
