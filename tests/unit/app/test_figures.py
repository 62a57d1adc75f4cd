"""Figures of written catalogs are reported until the catalog is removed, and one that cannot be read harms no other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sightline_server.app import figures as module
from sightline_server.app.figures import FiguresReporter
from sightline_server.domain.living import LivingFigures
from sightline_server.telemetry.living import LivingMetrics
from sightline_server.telemetry.metrics import Metrics
from tests.support.lens import until


class Source:
    """A catalog whose log has as many operations as its figures were read."""

    def __init__(self) -> None:
        self.reads = 0
        self.fails = False

    def __call__(self) -> LivingFigures:
        self.reads += 1
        if self.fails:
            raise OSError("gone")
        return LivingFigures(1, self.reads, *(1,) * 11)


class Reported:
    """A reporter that runs, and what it reported."""

    def __init__(self, metrics: Metrics, reporter: FiguresReporter) -> None:
        self.reporter = reporter
        self._metrics = metrics

    def operations(self, catalog: str) -> float | None:
        return self._metrics.registry.get_sample_value("sightline_catalog_log_operations", {"catalog": catalog})


@asynccontextmanager
async def reporting(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reported]:
    monkeypatch.setattr(module, "EVERY_S", 0.001)
    metrics = Metrics()
    reporter = FiguresReporter(LivingMetrics(metrics.living))
    task = asyncio.create_task(reporter.keep_reporting())
    yield Reported(metrics, reporter)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_figures_are_there_at_once_and_kept_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reporting(monkeypatch) as reported:
        await reported.reporter.add("shop", Source())
        assert (reported.operations("shop") or 0) >= 1
        await until(lambda: (reported.operations("shop") or 0) >= 3)


async def test_removed_catalog_is_not_reported_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reporting(monkeypatch) as reported:
        shop, other = Source(), Source()
        await reported.reporter.add("shop", shop)
        await reported.reporter.add("other", other)
        reported.reporter.remove("shop")
        reported.reporter.remove("never-added")
        reads = other.reads
        await until(lambda: other.reads > reads + 2)
        assert reported.operations("shop") is None


async def test_catalog_that_cannot_be_read_keeps_its_figures(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with reporting(monkeypatch) as reported:
        shop, other = Source(), Source()
        await reported.reporter.add("shop", shop)
        await reported.reporter.add("other", other)
        shop.fails = True
        reads = other.reads
        await until(lambda: other.reads > reads + 2)
        assert (reported.operations("shop") or 0) >= 1
        assert "catalog shop: its figures cannot be read" in caplog.text
