"""Opening catalogs again while the server serves: what SIGHUP and `sightline catalog reload` do.

    folder -> the revision that is served? -> opened and checked next to it -> served instead
Rule: a catalog that cannot be opened stays as it is served; what happens to one catalog happens to no other. A catalog
that this server writes is not opened again: it always serves what was written.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sightline_server.control.protocol import Reloaded
from sightline_server.domain.embedders import Embedders
from sightline_server.errors import SightlineError
from sightline_server.index.catalog import read_identity
from sightline_server.index.choice.choosing import DEFAULT_POLICY, IndexPolicy
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import open_snapshot
from sightline_server.index.registry import Registry
from sightline_server.rpc.listener.tls import Certificates

log = logging.getLogger(__name__)

UNKNOWN = "there is no such catalog on this server"
WRITTEN_HERE = "nothing to reload: this server writes the catalog and always serves its latest content"
NO_MEMORY = "there is no memory for the old revision and the new one together"


class Shelf(Protocol):
    """The catalogs that are served, each with a folder."""

    @property
    def folders(self) -> Mapping[str, Path]:
        """The folder of each catalog by its name."""

    def identity(self, name: str) -> tuple[str, str]:
        """The revision of catalog `name` that is served, and when it was built."""

    def is_living(self, name: str) -> bool:
        """Returns whether this server is the writer of catalog `name`."""

    async def open(self, name: str) -> None:
        """Opens catalog `name` again and serves it instead of the current revision.

        Raises `SightlineError`, `OSError` or `MemoryError`, and changes nothing then.
        """


class FollowedRevision(Protocol):
    """A followed catalog."""

    @property
    def identity(self) -> tuple[str, str] | None:
        """The revision that is served, and when it was built; None before there is one."""


class Followed(Protocol):
    """The catalogs that follow a writer."""

    @property
    def indexes(self) -> Mapping[str, FollowedRevision]:
        """Each of them by its name."""

    async def open(self, name: str) -> None:
        """Opens the copy of catalog `name` again. Raises as `Shelf.open`."""


class CheckedFiles(Protocol):
    """Files that are read again."""

    def check(self, *, force: bool = False) -> None:
        """Reads those that have changed, or all of them with `force`. Blocks on the disk; never raises."""


class ReloadObserver(Protocol):
    """Receives the outcome of a reload; the telemetry implements it."""

    def reloaded(self, catalog: str, outcome: str) -> None:
        """`catalog` was `replaced`, `unchanged` or `failed`."""


class RegistryShelf:
    """The catalogs of a server of one process: a replaced revision is freed with its last lease.

    Those of `followed` are opened by it, with what their writer has published since.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        registry: Registry,
        device: DeviceThread,
        embedders: Embedders,
        policy: IndexPolicy = DEFAULT_POLICY,
        followed: Followed | None = None,
    ) -> None:
        self.folders = folders
        self._registry = registry
        self._device = device
        self._embedders = embedders
        self._policy = policy
        self._followed = followed

    def identity(self, name: str) -> tuple[str, str]:
        """See `Shelf`: of a followed catalog, without what was written since its revision."""
        if self._followed is not None and name in self._followed.indexes:
            return self._followed.indexes[name].identity or ("", "")
        served = self._registry.current(name)
        return served.revision, served.built_at

    def is_living(self, name: str) -> bool:
        """See `Shelf`."""
        follows = self._followed is not None and name in self._followed.indexes
        return not follows and self._registry.is_living(name)

    async def open(self, name: str) -> None:
        """See `Shelf`."""
        if self._followed is not None and name in self._followed.indexes:
            await self._followed.open(name)
            return
        opened = await open_snapshot(self.folders[name], name, self._embedders, self._device, self._policy)
        self._registry.publish(opened)


class CatalogReloader:
    """Opens catalogs again, one after the other; calls wait for each other."""

    def __init__(self, shelf: Shelf, observer: ReloadObserver) -> None:
        self._shelf = shelf
        self._observer = observer
        self._turn = asyncio.Lock()

    async def reload(self, names: Sequence[str] = ()) -> list[Reloaded]:
        """Opens each of `names` again, or every catalog where none is named, and reports on each."""
        async with self._turn:
            return [await self._one(name) for name in dict.fromkeys(names or self._shelf.folders)]

    async def _one(self, name: str) -> Reloaded:
        if name not in self._shelf.folders:
            return Reloaded(name, "", "", UNKNOWN)
        before, _ = self._shelf.identity(name)
        if self._shelf.is_living(name):
            self._observer.reloaded(name, "unchanged")
            log.info("catalog %s: %s", name, WRITTEN_HERE)
            return Reloaded(name, before, before, note=WRITTEN_HERE)
        failure = await self._failure(name)
        now, _ = self._shelf.identity(name)
        outcome = "failed" if failure else "replaced" if before != now else "unchanged"
        self._observer.reloaded(name, outcome)
        if failure:
            log.error("catalog %s not reloaded, revision %s stays: %s", name, before, failure)
        else:
            log.info("catalog %s: revision %s %s", name, before, f"replaced by {now}" if before != now else outcome)
        return Reloaded(name, before, now, failure)

    async def _failure(self, name: str) -> str:
        """Opens a catalog whose folder has another revision than the served one; returns the error or an empty text."""
        try:
            found = await asyncio.to_thread(read_identity, self._shelf.folders[name])
            if found != self._shelf.identity(name):
                await self._shelf.open(name)
        except SightlineError as error:
            return error.message
        except MemoryError:
            return NO_MEMORY
        except OSError as error:
            return f"its folder cannot be read: {error.strerror or error}"
        except Exception:  # whatever the vector library meets, the served revision stays
            log.exception("catalog %s", name)
            return "it could not be opened; the server's log says why"
        return ""


class Reloading:
    """Reads the files of a server of one process again: TLS and access files and catalogs on SIGHUP."""

    def __init__(
        self, certificates: Certificates | None, catalogs: CatalogReloader, access_files: CheckedFiles | None = None
    ) -> None:
        self._certificates = certificates
        self._access_files = access_files
        self._catalogs = catalogs
        self._task: asyncio.Task[None] | None = None
        self._once_more = False

    def on_hangup(self) -> None:
        """Begins a reload, or one more after that which runs; those asked for while one waits are one."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="reload")
        elif not self._once_more:
            self._once_more = True
            log.info("SIGHUP: a reload runs, one more follows")

    async def reload_catalogs(self, names: Sequence[str] = ()) -> list[Reloaded]:
        """Opens each of `names` again, or every catalog where none is named, and reports on each."""
        return await self._catalogs.reload(names)

    def end(self) -> None:
        """Cancels the reload that is running; none begins from now on."""
        self._once_more = False
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            await reload_files(self._certificates)
            if self._access_files is not None:
                await asyncio.to_thread(self._access_files.check, force=True)
            log.info("SIGHUP: opening the catalogs again")
            reports = await self._catalogs.reload()
            failed = sum(bool(report.error) for report in reports)
            log.info("SIGHUP: %d catalogs, %d could not be opened", len(reports), failed)
        finally:
            self._task = None
            if self._once_more:
                self._once_more = False
                self.on_hangup()


async def reload_files(certificates: Certificates | None) -> None:
    """Reads the TLS files again, also when they seem unchanged, and logs the outcome."""
    if certificates is None:
        log.info("SIGHUP: no TLS files to read")
        return
    log.info("SIGHUP: reading the TLS files")
    await asyncio.to_thread(certificates.check, force=True)
