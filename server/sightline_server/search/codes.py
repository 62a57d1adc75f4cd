"""Codes of a photo -> the products that they name, read while the detector runs.

Rule: a code is never a reason for a search to fail, and what it says leaves this call in no way: neither in a log, nor
in a metric, an error or a trace.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sightline_server.domain.codes import PhotoCode
from sightline_server.domain.events import SkippedStep
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.request import SearchQuery
from sightline_server.domain.stages import CODES
from sightline_server.ports import Clock, Snapshot
from sightline_server.settings import CodeSettings
from sightline_server.stages.codes.objects import MatchedCode
from sightline_server.stages.codes.reading import read_codes
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.uncancelled import cancelled
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.stopwatch import Stopwatch

log = logging.getLogger(__name__)

FOUND, MATCHED, SKIPPED, FAILED = "found", "matched", "skipped", "failed"
MOST_GTINS = 32
"""GTINs of one photo that are looked up, the largest codes first."""


@dataclass(frozen=True, slots=True)
class ReadCodes:
    """The codes of a photo, or the reason why there are none."""

    codes: tuple[PhotoCode, ...] = ()
    skipped: tuple[SkippedStep, ...] = ()


class Codes:
    """Reads the codes of photos and finds their products in leased catalogs."""

    def __init__(self, threads: PhotoThreads, settings: CodeSettings, metrics: Metrics, clock: Clock) -> None:
        self._threads = threads
        self._settings = settings
        self._clock = clock
        # A counter that appears with its first code hides that code from rate().
        self._counts = {outcome: metrics.codes.labels(outcome) for outcome in (FOUND, MATCHED, SKIPPED, FAILED)}

    @asynccontextmanager
    async def reading(
        self, query: SearchQuery, frame: Frame, snapshot: Snapshot, watch: Stopwatch
    ) -> AsyncIterator["asyncio.Task[ReadCodes]"]:
        """Reads the codes of `frame` during the block, which gets the result by awaiting the task."""
        task = asyncio.create_task(self._read(query, frame, snapshot, watch))
        try:
            yield task
        finally:
            await cancelled(task)

    async def matched(self, snapshot: Snapshot, found: Iterable[PhotoCode]) -> list[MatchedCode]:
        """The codes whose products `snapshot` has, largest first. Raises `SightlineError`."""
        matched = []
        for gtin, boxes in list(by_gtin(found).items())[:MOST_GTINS]:
            products = await snapshot.with_gtin(gtin)
            if products is not None:
                matched.append(MatchedCode(tuple(boxes), products))
        self._counts[MATCHED].inc(len(matched))
        return matched

    async def _read(self, query: SearchQuery, frame: Frame, snapshot: Snapshot, watch: Stopwatch) -> ReadCodes:
        if not self._settings.enabled or not snapshot.has_gtins:
            return ReadCodes()
        if query.deadline - self._clock() < self._settings.min_time_left_s:
            self._counts[SKIPPED].inc()
            return ReadCodes(skipped=(SkippedStep.CODES,))
        with watch.step(CODES) as step:

            def work() -> Sequence[PhotoCode]:
                step.runs()
                return read_codes(frame, self._settings.max_pixels)

            try:
                codes = tuple(await self._threads.run(work))
            except Exception as error:  # whatever the library raises, the photo is searched; its text may be the code
                log.error("codes not read: %s", type(error).__name__, extra={"request_id": query.request_id})
                self._counts[FAILED].inc()
                return ReadCodes(skipped=(SkippedStep.CODES,))
        self._counts[FOUND].inc(len({code.gtin for code in codes}))
        return ReadCodes(codes)


def by_gtin(codes: Iterable[PhotoCode]) -> dict[int, list[Box]]:
    """The boxes of each GTIN, largest first."""
    boxes: dict[int, list[Box]] = {}
    for code in sorted(codes, key=lambda code: -code.box.area):
        boxes.setdefault(code.gtin, []).append(code.box)
    return boxes
