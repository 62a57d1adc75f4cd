"""The catalogs of a server that writes them: opened by this process, and searched while they are written.

    folder -> open_living (lock, log, live index) -> a GroupWriter, watched
Rule: what writes ends before what is written is closed. Each catalog has its own end, because it may be deleted.
"""

import asyncio
import getpass
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from sightline_server.app.catalogs import naming
from sightline_server.app.clock import clock
from sightline_server.app.living import OpenCatalog, SearchedIndex, nothing, open_living
from sightline_server.app.milvus_catalogs import require_pymilvus
from sightline_server.app.milvus_living import open_in_milvus
from sightline_server.app.watching import Watch
from sightline_server.batching.background import Background
from sightline_server.batching.giving_way import GivingWay
from sightline_server.domain.embedders import ServedEmbedders
from sightline_server.index.catalog_writer import GroupWriter
from sightline_server.index.choice.choosing import DEFAULT_POLICY, IndexPolicy
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.live.patience import GiveWay, at_once
from sightline_server.index.opening import build_snapshot, log_library
from sightline_server.index.registry import Registry
from sightline_server.ports import CatalogWriter
from sightline_server.search.sampled_writer import SampledWriter
from sightline_server.telemetry.living import LivingMetrics
from sightline_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from sightline_server.index.milvus.live import MilvusLive

log = logging.getLogger(__name__)


class WrittenCatalogs:
    """The catalogs in `folders`, opened by this process as their only writer; they close with `stack`.

    Those of `in_milvus` have their folder there too, and are searched in Milvus. `folders` and `opened` change when a
    catalog is created or deleted. `before_checkpoint` is called by the name of a catalog, as in `open_living`.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        folders: dict[str, Path],
        metrics: Metrics,
        policy: IndexPolicy = DEFAULT_POLICY,
        *,
        in_milvus: Mapping[str, Path] = MappingProxyType({}),
        before_checkpoint: Mapping[str, Callable[[], None]] = MappingProxyType({}),
    ) -> None:
        self._stack = stack
        self._before_checkpoint = before_checkpoint
        self._policy = policy
        self.folders = folders
        self.in_milvus = in_milvus
        self.live: dict[str, MilvusLive] = {}
        """Those of `in_milvus` as their stores have them."""
        self.observer = LivingMetrics(metrics.living)
        self.opened: dict[str, OpenCatalog[SearchedIndex]] = {}
        self._writers: dict[str, GroupWriter] = {}
        self._searches_first: GiveWay = at_once
        self._background: Background | None = None
        self._ends: dict[str, AsyncExitStack] = {}
        """The end of each catalog: of its writer, its figures and its files."""

    async def publish(self, registry: Registry, device: DeviceThread, embedders: ServedEmbedders) -> None:
        """Opens each catalog and publishes it. Raises `SightlineError` as `open_living`."""
        log_library()
        self._registry, self._device, self.embedders = registry, device, embedders
        self._stack.push_async_callback(self.close)
        for name, path in self.folders.items():
            with naming(name, self.folders):
                await self._open(name, path)
        for name, path in self.in_milvus.items():
            with naming(name, {**self.folders, **self.in_milvus}):
                await self._open_in_milvus(name, path)

    def folder_of(self, name: str) -> Path:
        """The folder of an opened catalog."""
        return self.folders[name] if name in self.folders else self.in_milvus[name]

    def watch(self, watch: Watch) -> None:
        """Reports the figures and the writes of catalogs to `watch` from now on."""
        self._watch = watch

    def go_after(self, background: Background) -> None:
        """Writes and merges let the calls that `background` counts go first from now on."""
        self._background = background
        self._searches_first = GivingWay(background, asyncio.get_running_loop())

    async def write(self, name: str) -> CatalogWriter:
        """The writer of an opened catalog, which begins to write. Raises `OSError` for a folder that cannot be read."""
        opened, ends = self.opened[name], self._ends[name]
        await self._watch.add(ends, name, self.folder_of(name), opened)
        writer = GroupWriter(
            name, opened.catalog, clock=clock, observer=self.observer, searches_first=self._no_search_runs
        )
        writer.start()
        ends.push_async_callback(writer.close)
        self._writers[name] = writer
        if name in self.live:
            from sightline_server.index.milvus.gated_writer import GatedWriter

            return SampledWriter(GatedWriter(writer, self.live[name]), self._watch.prober)
        return SampledWriter(writer, self._watch.prober)

    async def start(self, name: str, path: Path) -> CatalogWriter:
        """Opens and publishes a new catalog, and begins to write it. Raises `SightlineError`, and changes nothing."""
        try:
            await self._open(name, path)
            self.folders[name] = path
            return await self.write(name)
        except BaseException:
            await self.end(name)
            raise

    async def retire(self, name: str, remove: Callable[[int], None]) -> None:
        """Ends the writing of a catalog that is deleted. See `GroupWriter.retire`."""
        await self._writers[name].retire(remove)

    async def end(self, name: str) -> None:
        """Closes a catalog and serves it no longer; it is freed with its last lease."""
        self.folders.pop(name, None)
        self._writers.pop(name, None)
        try:
            await self._ends.pop(name, AsyncExitStack()).aclose()
        except Exception:  # its folder may be gone: what is left is memory and metrics
            log.exception("catalog %s could not be closed", name)
        self._registry.withdraw(name)
        self.opened.pop(name, None)

    async def close(self) -> None:
        """Ends the writers and closes the catalogs. The registry serves their last content until it is closed."""
        while self._ends:
            _, ends = self._ends.popitem()
            await ends.aclose()

    async def _no_search_runs(self, seconds: float) -> None:
        """Waits until no search runs, for `seconds` at most."""
        if self._background is not None:
            await self._background.clear(seconds)

    async def _open(self, name: str, path: Path) -> None:
        opening = open_living(
            *(path, name, self.embedders, self._device, self._registry),
            actor=server_user(),
            observer=self.observer,
            build=partial(build_snapshot, policy=self._policy),
            give_way=lambda seconds: self._searches_first(seconds),
            before_checkpoint=self._before_checkpoint.get(name, nothing),
        )
        async with AsyncExitStack() as ends:
            self.opened[name] = await ends.enter_async_context(opening)
            self._ends[name] = ends.pop_all()

    async def _open_in_milvus(self, name: str, path: Path) -> None:
        require_pymilvus()
        async with AsyncExitStack() as ends:
            opening = open_in_milvus(path, name, self.embedders, actor=server_user())
            opened = await ends.enter_async_context(opening)
            self.opened[name], self.live[name] = opened, opened.index
            self._ends[name] = ends.pop_all()


def server_user() -> str:
    """The user that the server runs as, whom revisions name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        return f"uid {os.getuid()}"
