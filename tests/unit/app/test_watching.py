"""A written catalog as a process watches it: figures, and a freshness check of what its writer acknowledged."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from sightline_server.app import figures as figures_module
from sightline_server.app.batchers import search_all
from sightline_server.app.living import OpenLiving, open_living
from sightline_server.app.watching import keep_watching
from sightline_server.batching.batcher import MicroBatcher
from sightline_server.batching.window import Window
from sightline_server.domain.catalog_rows import ProductUpdate
from sightline_server.domain.request import Lane
from sightline_server.domain.writes import WriteTerms
from sightline_server.index.catalog_writer import GroupWriter
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.registry import Registry
from sightline_server.ports import CatalogWriter
from sightline_server.search import freshness as freshness_module
from sightline_server.search.freshness import FreshnessProber
from sightline_server.search.sampled_writer import SampledWriter
from sightline_server.stages.search import VectorQuery
from sightline_server.telemetry.batches import BatcherMetrics
from sightline_server.telemetry.catalogs import CatalogMetrics
from sightline_server.telemetry.living import FRESHNESS_OUTCOMES, LivingMetrics
from sightline_server.telemetry.metrics import Metrics
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog
from tests.support.lens import until

if TYPE_CHECKING:
    _writer: CatalogWriter = SampledWriter(cast("CatalogWriter", None), cast("FreshnessProber", None))


@dataclass
class Watched:
    """A catalog of five products that is written, searched and watched."""

    metrics: Metrics
    living: OpenLiving
    prober: FreshnessProber
    writer: SampledWriter

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"sightline_catalog_{name}", {"catalog": "shop", **labels})

    def checks(self) -> dict[str, float]:
        """The checks that ended, by outcome."""
        counted = {each: self.value("freshness_checks_total", outcome=each) for each in FRESHNESS_OUTCOMES}
        return {outcome: count for outcome, count in counted.items() if count}

    async def checked(self) -> dict[str, float]:
        """The same once no check runs."""
        await until(lambda: not self.prober._running)
        return self.checks()


@asynccontextmanager
async def watched(path: Path) -> AsyncIterator[Watched]:
    write_catalog(path, [row(f"p{number}", unit_vectors(1, number)) for number in range(5)])
    metrics = Metrics()
    observer = LivingMetrics(metrics.living)
    window: Window[VectorQuery] = Window(max_batch=64, max_waiting=64, lanes=len(Lane))
    async with AsyncExitStack() as stack:
        device, registry = DeviceThread(), Registry(CatalogMetrics(metrics))
        stack.callback(device.close)
        stack.push_async_callback(registry.close)
        opening = open_living(path, "shop", SPEC, device, registry, observer=observer)
        living = await stack.enter_async_context(opening)
        clock, batches = time.monotonic, BatcherMetrics(metrics.batches, "queries")
        queries = MicroBatcher(search_all, window, slots=1, clock=clock, observer=batches)
        stack.push_async_callback(queries.close)
        watch = keep_watching(stack, registry, queries, observer)
        await watch.add(stack, "shop", path, living)
        writer = GroupWriter("shop", living.catalog, clock=clock, observer=observer)
        writer.start()
        stack.push_async_callback(writer.close)
        yield Watched(metrics, living, watch.prober, SampledWriter(writer, watch.prober))


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures_module, "EVERY_S", 0.01)
    monkeypatch.setattr(freshness_module, "EVERY_S", 0.0)


async def test_written_product_is_found_by_the_check_of_its_write(tmp_path: Path) -> None:
    async with watched(tmp_path / "shop") as shop:
        for number in range(5):
            await shop.writer.upsert([row(f"new{number}", unit_vectors(2, 50 + number))])
            assert await shop.checked() == {"found": number + 1}
        assert shop.value("freshness_seconds_count") == 5
        assert shop.value("operations_total") == 5
        await until(lambda: shop.value("delta_images") == 10 and shop.value("log_operations") == 5)
        assert shop.value("products") == 10


async def test_only_products_that_were_written_now_are_checked(tmp_path: Path) -> None:
    async with watched(tmp_path / "shop") as shop:
        await shop.writer.delete(["p1"])
        await shop.writer.update([ProductUpdate("p2", {"title": "new"})])
        await shop.writer.upsert([row("a", unit_vectors(1, 60))], terms=WriteTerms(dry_run=True))
        await shop.writer.upsert([row("p2", unit_vectors(1, 60))], terms=WriteTerms(etags={"p2": "another"}))
        await shop.writer.upsert([])
        assert await shop.checked() == {}
        await shop.writer.upsert([row("b", unit_vectors(1, 61))], "one")
        await shop.writer.delete(["b"])
        checks = await shop.checked()
        await shop.writer.upsert([row("b", unit_vectors(1, 61))], "one")
        assert await shop.checked() == checks, "the repeated request wrote nothing"
        assert "missed" not in checks


async def test_products_that_are_deleted_and_rolled_back_at_once_are_never_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness_module, "GIVE_UP_S", 2.0)
    async with watched(tmp_path / "shop") as shop:
        for number in range(10):
            rows = [row("same", unit_vectors(1, 70 + number)), row("same", unit_vectors(1, 90 + number))]
            await asyncio.gather(shop.writer.upsert(rows), shop.writer.delete(["same"]))
        await shop.writer.upsert([row("same", unit_vectors(1, 70))])
        await shop.writer.activate(1)
        assert set(await shop.checked()) <= {"found", "undecided"}


async def test_series_end_with_the_catalog(tmp_path: Path) -> None:
    async with watched(tmp_path / "shop") as shop:
        assert shop.value("log_operations") == 0
    assert shop.value("log_operations") is None
    assert shop.value("freshness_seconds_count") is None


async def test_sampled_writer_reads_what_its_writer_reads(tmp_path: Path) -> None:
    async with watched(tmp_path / "shop") as shop:
        await shop.writer.upsert([row("a", unit_vectors(1, 60))])
        assert (shop.writer.name, shop.writer.embedder.dimension) == ("shop", SPEC.dimension)
        assert shop.writer.pending == 1
        assert await shop.writer.count() == 6
        assert (await shop.writer.checkpoint()).number == shop.writer.revisions[0].number == 2
        assert [each.product.id for each in await shop.writer.list("", 2)] == ["a", "p0"]
        stored = await shop.writer.get("a")
        assert stored is not None
