"""The watch over the catalogs that this process writes: figures at an interval, and the freshness check."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from sightline_server.app.background import keep_checking_freshness, keep_running
from sightline_server.app.figures import FiguresReporter
from sightline_server.app.living import OpenLiving
from sightline_server.domain.living import LivingFigures
from sightline_server.index.living_figures import figures_of
from sightline_server.index.registry import Registry
from sightline_server.search.find import QueriesBatcher
from sightline_server.search.freshness import FreshnessProber
from sightline_server.telemetry.living import LivingMetrics


async def keep_watching(
    stack: AsyncExitStack,
    registry: Registry,
    queries: QueriesBatcher,
    observer: LivingMetrics,
    catalogs: Mapping[str, tuple[Path, OpenLiving]],
) -> FreshnessProber:
    """Reports the figures of `catalogs`, by name, until `stack` ends; returns what checks their writes until then.

    To be called before anything is written. Raises `OSError` for a folder that cannot be read.
    """
    reporter = FiguresReporter(observer)
    for name, (path, opened) in catalogs.items():
        await reporter.add(name, partial(read_figures, path, opened))
        stack.callback(reporter.remove, name)
    keep_running(stack, reporter.keep_reporting(), "figures")
    return keep_checking_freshness(stack, registry, queries, observer)


def read_figures(path: Path, opened: OpenLiving) -> LivingFigures:
    """The figures of one catalog now. Raises `OSError`, and `SightlineError` once its index is closed."""
    return figures_of(path, opened.catalog.store, opened.index.sizes)
