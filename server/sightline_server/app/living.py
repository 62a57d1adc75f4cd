"""A catalog that this process writes and searches: its store, its live index, and its entry in the registry.

    open_living: lock -> log recovered -> base of what is on the disk -> self-check -> published
Rule: leases are made on the event loop, so a base is exchanged there; everything that takes time is done elsewhere.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.embedders import Embedders
from sightline_server.domain.living import UNOBSERVED, LiveSizes
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.live.index import BuildBase, Exchange, LiveIndex
from sightline_server.index.live.patience import GiveWay, at_once
from sightline_server.index.live.policy import MergePolicy
from sightline_server.index.living import LivingCatalog
from sightline_server.index.registry import Registry
from sightline_server.ports import LivingObserver

CHECKPOINT_PAUSE_S = 0.25
"""Seconds that a checkpoint waits at most for searches, before each part: before the last two writers wait as well."""
EXCHANGE_S = 30.0
"""Seconds that the event loop may take until it exchanges a base."""


class SearchedIndex(Protocol):
    """The searched part of a catalog that is written: `LiveIndex`, or `MilvusLive`."""

    @property
    def sizes(self) -> LiveSizes:
        """The sizes now. Raises `SightlineError` once it is closed."""

    def join(self) -> None:
        """Waits for a merge that runs, if there is one."""

    def close(self) -> None:
        """Ends what it does; nothing is written from now on."""


IndexT = TypeVar("IndexT", bound=SearchedIndex, covariant=True)


@dataclass(frozen=True, slots=True)
class OpenCatalog(Generic[IndexT]):
    """A catalog that is served while `catalog` writes to it, from one thread at a time; `index` is what is searched."""

    catalog: LivingCatalog
    index: IndexT


OpenLiving = OpenCatalog[LiveIndex]
"""One that is searched in this process."""


def nothing() -> None:
    """Does nothing before a checkpoint."""


@asynccontextmanager
async def open_living(
    path: Path,
    name: str,
    embedders: Embedders,
    device: DeviceThread,
    registry: Registry,
    *,
    actor: str = "",
    observer: LivingObserver = UNOBSERVED,
    policy: MergePolicy | None = None,
    build: BuildBase | None = None,
    give_way: GiveWay = at_once,
    before_checkpoint: Callable[[], None] = nothing,
) -> AsyncIterator[OpenLiving]:
    """The catalog at `path`, written by this process and served under `name` in `registry`.

    A catalog without a log gets one. The store is notified before it acknowledges, so what it acknowledged is in every
    later lease. `build` builds its bases, by default as `open_snapshot` without further options; merges and checkpoints
    let searches go first by `give_way`. `before_checkpoint` is called by the writer before a checkpoint takes
    operations out of the log, and raises nothing. The block ends when nothing writes any more; `registry` serves the
    last content until it is closed or the catalog is withdrawn. Raises `SightlineError`: CONFIGURATION when another
    process writes to the catalog, when it is damaged or was made with none of `embedders`, INDEX_UNAVAILABLE when its
    index fails the self-check.
    """
    index = LiveIndex(
        path,
        name,
        embedders,
        device,
        policy=policy or MergePolicy(),
        observer=observer,
        build=build,
        give_way=give_way,
        exchange=exchange_on(asyncio.get_running_loop()),
        on_base=lambda view: registry.publish(view, index.view),
    )

    def pause() -> None:
        before_checkpoint()
        give_way(CHECKPOINT_PAUSE_S)

    catalog = LivingCatalog(path, actor=actor, store=CatalogStore(path, actor=actor, published=index, pause=pause))
    await asyncio.to_thread(catalog.__enter__)
    try:
        catalog.require_embedder(embedders)
        await asyncio.to_thread(index.open)
        yield OpenCatalog(catalog, index)
    finally:
        await asyncio.shield(asyncio.to_thread(closed, catalog, index))


def closed(catalog: LivingCatalog, index: SearchedIndex) -> None:
    """Ends merges and writes, in this order."""
    try:
        index.close()
    finally:
        catalog.__exit__(None, None, None)


def exchange_on(loop: asyncio.AbstractEventLoop) -> Exchange:
    """Runs a step on `loop` for another thread, which waits for it; a step that was not begun in time is not run."""

    def exchange(work: Callable[[], None]) -> None:
        done: Future[None] = Future()
        loop.call_soon_threadsafe(partial(run, work, done))
        try:
            done.result(EXCHANGE_S)
        except TimeoutError:
            if done.cancel():
                raise
            done.result()

    return exchange


def run(work: Callable[[], None], done: "Future[None]") -> None:
    """Runs `work` and reports its end to `done`, unless that was cancelled."""
    if not done.set_running_or_notify_cancel():
        return
    try:
        work()
    except BaseException as error:
        done.set_exception(error)
    else:
        done.set_result(None)
