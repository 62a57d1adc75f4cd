"""The figures of the catalogs that this process writes, reported to their observer at an interval.

Rule: figures are read in a thread, one catalog after the other. A catalog whose disk cannot be read keeps its last
ones.
"""

import asyncio
import logging
from collections.abc import Callable

from sightline_server.domain.living import LivingFigures
from sightline_server.errors import SightlineError
from sightline_server.ports import LivingObserver

log = logging.getLogger(__name__)

EVERY_S = 5.0
Figures = Callable[[], LivingFigures]
"""Reads the figures of one catalog, in any thread. Raises `OSError` or `SightlineError`."""


class FiguresReporter:
    """Reports every catalog that was added until it is removed. For the event loop only."""

    def __init__(self, observer: LivingObserver) -> None:
        self._observer = observer
        self._catalogs: dict[str, Figures] = {}

    async def add(self, catalog: str, figures: Figures) -> None:
        """`catalog` can be written from now on. Raises what `figures` raises."""
        self._observer.opened(catalog, await asyncio.to_thread(figures))
        self._catalogs[catalog] = figures

    def remove(self, catalog: str) -> None:
        """`catalog` is not written any more."""
        if self._catalogs.pop(catalog, None) is not None:
            self._observer.closed(catalog)

    async def keep_reporting(self) -> None:
        """Reports until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            for catalog, figures in list(self._catalogs.items()):
                await self._report(catalog, figures)

    async def _report(self, catalog: str, figures: Figures) -> None:
        try:
            current = await asyncio.to_thread(figures)
        except (OSError, SightlineError) as error:
            log.warning("catalog %s: its figures cannot be read: %s", catalog, error)
            return
        if self._catalogs.get(catalog) is figures:
            self._observer.figures(catalog, current)
