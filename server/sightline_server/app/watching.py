"""The watch over the catalogs that this process writes: figures at an interval, and the freshness check."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sightline_server.app.background import keep_checking_freshness, keep_running
from sightline_server.app.figures import FiguresReporter
from sightline_server.app.living import OpenCatalog, SearchedIndex
from sightline_server.domain.living import LivingFigures
from sightline_server.index.living_figures import figures_of
from sightline_server.index.registry import Registry
from sightline_server.search.find import QueriesBatcher
from sightline_server.search.freshness import FreshnessProber
from sightline_server.telemetry.living import LivingMetrics


@dataclass(frozen=True, slots=True)
class Watch:
    """The watch over the catalogs: `reporter` reports their figures, and `prober` checks their writes."""

    reporter: FiguresReporter
    prober: FreshnessProber

    async def add(self, stack: AsyncExitStack, name: str, path: Path, opened: OpenCatalog[SearchedIndex]) -> None:
        """Reports the figures of a catalog until `stack` ends. To be called before anything is written.

        Raises `OSError` for a folder that cannot be read.
        """
        await self.reporter.add(name, partial(read_figures, path, opened))
        stack.callback(self.reporter.remove, name)


def keep_watching(stack: AsyncExitStack, registry: Registry, queries: QueriesBatcher, observer: LivingMetrics) -> Watch:
    """The watch over catalogs in `registry`, until `stack` ends."""
    reporter = FiguresReporter(observer)
    keep_running(stack, reporter.keep_reporting(), "figures")
    return Watch(reporter, keep_checking_freshness(stack, registry, queries, observer))


def read_figures(path: Path, opened: OpenCatalog[SearchedIndex]) -> LivingFigures:
    """The figures of one catalog now. Raises `OSError`, and `SightlineError` once its index is closed."""
    return figures_of(path, opened.catalog.store, opened.index.sizes)
