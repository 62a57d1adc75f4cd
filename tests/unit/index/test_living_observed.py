"""The metrics of a real store, its writer and its live index: each figure follows what happened to the catalog."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sightline_server.catalog.log import Log
from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.catalog_rows import ProductUpdate
from sightline_server.domain.writes import WriteTerms
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog_writer import GroupWriter
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.live import index as index_module
from sightline_server.index.live.index import LiveIndex
from sightline_server.index.live.policy import MergePolicy
from sightline_server.index.living import LivingCatalog
from sightline_server.index.living_figures import figures_of
from sightline_server.index.write_queue import Bounds, WriteQueue
from sightline_server.telemetry.living import LivingMetrics
from sightline_server.telemetry.metrics import Metrics
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog
from tests.support.lens import until

NEVER = MergePolicy()
OFTEN = MergePolicy(images=4, images_share=0, pause_s=0.0)


@dataclass
class Shop:
    """A catalog of five products that is written and searched, and its metrics."""

    path: Path
    metrics: Metrics
    observer: LivingMetrics
    catalog: LivingCatalog
    index: LiveIndex
    writer: GroupWriter

    def value(self, name: str, **labels: str) -> float:
        """A series of the catalog."""
        found = self.metrics.registry.get_sample_value(f"sightline_catalog_{name}", {"catalog": "shop", **labels})
        assert found is not None
        return found

    async def report(self) -> None:
        """The figures as the process reports them every few seconds."""
        figures = await asyncio.to_thread(figures_of, self.path, self.catalog.store, self.index.sizes)
        self.observer.figures("shop", figures)

    async def upsert(self, *names: str, images: int = 1, request_id: str = "") -> None:
        rows = [row(name, unit_vectors(images, 40 + place)) for place, name in enumerate(names)]
        await self.writer.upsert(rows, request_id)


@asynccontextmanager
async def opened(path: Path, policy: MergePolicy = NEVER, queue: WriteQueue | None = None) -> AsyncIterator[Shop]:
    write_catalog(path, [row(f"p{number}", unit_vectors(1, number)) for number in range(5)])
    metrics, device = Metrics(), DeviceThread()
    observer = LivingMetrics(metrics.living)
    index = LiveIndex(path, "shop", SPEC, device, policy=policy, observer=observer)
    catalog = LivingCatalog(path, store=CatalogStore(path, published=index))
    with catalog:
        await asyncio.to_thread(index.open)
        observer.opened("shop", figures_of(path, catalog.store, index.sizes))
        writer = GroupWriter("shop", catalog, clock=time.monotonic, queue=queue, observer=observer)
        writer.start()
        yield Shop(path, metrics, observer, catalog, index, writer)
        await writer.close()
        index.close()
        await index.view().close()
    device.close()


async def test_acknowledged_operations_are_those_that_were_written_now(tmp_path: Path) -> None:
    async with opened(tmp_path / "shop") as shop:
        await shop.upsert("a", "b", request_id="one")
        await shop.upsert("a", "b", request_id="one")
        await shop.writer.update([ProductUpdate("a", {"title": "new"}), ProductUpdate("gone", {"title": "new"})])
        await shop.writer.delete(["p1"])
        await shop.writer.delete(["p2"], terms=WriteTerms(dry_run=True))
        await shop.writer.delete(["p2"], terms=WriteTerms(etags={"p2": "another"}))
        assert shop.value("operations_total") == 4
        assert shop.value("commit_seconds_count") == 3
        assert 0 < shop.value("commit_seconds_sum") < 60


async def test_sizes_follow_writes_and_checkpoints(tmp_path: Path) -> None:
    async with opened(tmp_path / "shop") as shop:
        empty_delta = shop.value("memory_bytes", part="delta")
        assert (shop.value("products"), shop.value("base_images"), shop.value("delta_images")) == (5, 5, 0)
        assert shop.value("merge_at_images") == 10_000
        assert shop.value("memory_bytes", part="base") == 5 * SPEC.dimension * 4
        versions, log_bytes = shop.value("base_versions"), shop.value("log_bytes")
        await shop.upsert("a", "b", images=3)
        await shop.upsert("a")
        await shop.writer.delete(["p1"])
        await shop.report()
        assert (shop.value("products"), shop.value("base_images"), shop.value("delta_images")) == (6, 5, 7)
        assert shop.value("dead_images") == 4
        assert shop.value("log_operations") == 4
        assert shop.value("log_bytes") > log_bytes
        assert shop.value("memory_bytes", part="delta") > empty_delta
        assert shop.value("disk_free_bytes") > 0
        revision = await shop.writer.checkpoint()
        await shop.report()
        assert shop.value("log_operations") == 0
        assert shop.value("base_versions") > versions
        assert shop.value("base_bytes") > 0
        assert shop.value("checkpoint_timestamp_seconds") == datetime.fromisoformat(revision.created_at).timestamp()


def refuse() -> None:
    """A condition that does not hold."""
    raise SightlineError(ErrorKind.ETAG_MISMATCH, "the etag is stale")


async def test_checkpoints_and_rollbacks_are_counted_where_they_make_a_revision(tmp_path: Path) -> None:
    async with opened(tmp_path / "shop") as shop:
        await shop.writer.delete(["p1"])
        await shop.writer.checkpoint()
        await shop.writer.checkpoint()
        assert shop.value("checkpoint_seconds_count") == 1
        await shop.writer.activate(1)
        assert shop.value("checkpoint_seconds_count") == 2
        with pytest.raises(SightlineError, match="no revision 99"):
            await shop.writer.activate(99)
        with pytest.raises(SightlineError, match="the etag is stale"):
            await shop.writer.activate(1, check=refuse)
        assert shop.value("checkpoint_seconds_count") == 2
        assert shop.value("checkpoint_failures_total") == 0, "the caller was wrong, not the disk"
        await shop.writer.delete(["p2"])
        await shop.writer.close()
        assert shop.value("checkpoint_seconds_count") == 3, "a stop makes one"


async def test_checkpoint_that_fails_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise SightlineError(ErrorKind.OVERLOADED, "cannot write the base: the disk is full")

    async with opened(tmp_path / "shop") as shop:
        await shop.writer.delete(["p1"])
        with monkeypatch.context() as patched:
            patched.setattr(Log, "record", full)
            with pytest.raises(SightlineError):
                await shop.writer.checkpoint()
        assert shop.value("checkpoint_failures_total") == 1
        assert shop.value("checkpoint_seconds_count") == 0
        assert shop.value("refused_writes_total", reason="disk_full") == 0
        await shop.writer.checkpoint()
        assert shop.value("checkpoint_seconds_count") == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SightlineError(ErrorKind.OVERLOADED, "the disk is full"), "disk_full"),
        (SightlineError(ErrorKind.CONFIGURATION, "the log is damaged"), "failed"),
        (RuntimeError("odd"), "failed"),
    ],
)
async def test_write_that_cannot_be_stored_is_counted_by_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fails(*_arguments: object) -> None:
        raise error

    async with opened(tmp_path / "shop") as shop:
        with monkeypatch.context() as patched:
            patched.setattr(Log, "append", fails)
            with pytest.raises(SightlineError):
                await shop.writer.delete(["p1"])
        assert shop.value("refused_writes_total", reason=reason) == 1
        assert shop.value("operations_total") == 0


async def test_write_that_is_wrong_itself_is_no_refusal(tmp_path: Path) -> None:
    async with opened(tmp_path / "shop") as shop:
        with pytest.raises(SightlineError):
            await shop.writer.upsert([row("a", unit_vectors(1, 1, 3))])
        for reason in ("disk_full", "queue_full", "failed"):
            assert shop.value("refused_writes_total", reason=reason) == 0


async def test_write_that_finds_no_room_in_the_queue_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, begun, go_on = Log.append, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> int:
        begun.set()
        assert go_on.wait(20)
        return append(*arguments)

    queue = WriteQueue(Bounds(1, 10_000))
    async with opened(tmp_path / "shop", queue=queue) as shop:
        monkeypatch.setattr(Log, "append", slow)
        written = [asyncio.create_task(shop.writer.delete(["p1"]))]
        await asyncio.to_thread(begun.wait, 60)
        written.append(asyncio.create_task(shop.writer.delete(["p2"])))
        await until(lambda: len(queue) == 1)
        with pytest.raises(SightlineError, match="too many writes"):
            await shop.writer.delete(["p3"], deadline=asyncio.get_running_loop().time())
        go_on.set()
        await asyncio.gather(*written)
        assert shop.value("refused_writes_total", reason="queue_full") == 1
        assert shop.value("operations_total") == 2


async def test_merges_are_counted_and_empty_the_delta(tmp_path: Path) -> None:
    async with opened(tmp_path / "shop", OFTEN) as shop:
        await shop.upsert("a", "b", images=2)
        await asyncio.to_thread(shop.index.join)
        await shop.report()
        assert shop.value("merge_seconds_count") == 1
        assert (shop.value("base_images"), shop.value("delta_images"), shop.value("merge_at_images")) == (9, 0, 4)


async def test_merge_that_fails_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_arguments: object, **_options: object) -> None:
        raise MemoryError

    async with opened(tmp_path / "shop", OFTEN) as shop:
        monkeypatch.setattr(index_module, "build_snapshot", no_memory)
        await shop.upsert("a", "b", images=2)
        await asyncio.to_thread(shop.index.join)
        assert shop.value("merge_failures_total") == 1
        assert shop.value("merge_seconds_count") == 0
