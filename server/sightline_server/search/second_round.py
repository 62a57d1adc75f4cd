"""The second round of a search, for callers that ask for it: parts of the photo -> objects that the first one missed.

Rule: the first answer has been sent, so nothing that happens here changes it. Without time, on a busy server or
after a failure of the detector the search ends with the first answer, and says what is missing. One part goes through
the detector at a time, behind the photos of calls that wait for their first answer.
"""

import asyncio
import logging
from dataclasses import dataclass, replace

from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame, ModelInput
from sightline_server.domain.models import DETECTOR
from sightline_server.domain.request import Lane, SearchQuery
from sightline_server.domain.stages import LOOK_CLOSER
from sightline_server.errors import SightlineError
from sightline_server.ports import Clock, Engine
from sightline_server.search.codes import ReadCodes
from sightline_server.search.find import NO_CODES
from sightline_server.search.look import FramesBatcher
from sightline_server.search.second_look import NO_TIME
from sightline_server.search.under_way import Seen
from sightline_server.settings import DetectionSettings
from sightline_server.stages.choose import Choice
from sightline_server.stages.detect import to_scene
from sightline_server.stages.people import people_only
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.redact import Views
from sightline_server.stages.tiles import TILES, FurtherChoice, TileScene, further, in_photo, tile_input
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.stopwatch import Step

log = logging.getLogger(__name__)

FOUND, NOTHING, SKIPPED, FAILED = "found", "nothing", "skipped", "failed"


@dataclass(frozen=True, slots=True)
class Further:
    """The further objects of a photo, and the number of people that were found with them."""

    seen: Seen
    people: int = 0


class SecondRound:
    """Finds further objects in parts of photos, by the detector of one engine."""

    def __init__(
        self,
        *,
        engine: Engine,
        frames: FramesBatcher,
        threads: PhotoThreads,
        detection: DetectionSettings,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._frames = frames
        self._threads = threads
        self._detection = detection
        self._clock = clock
        # A counter that appears with its first photo hides that photo from rate().
        self._counts = {each: metrics.second_rounds.labels(each) for each in (FOUND, NOTHING, SKIPPED, FAILED)}

    async def further(self, first: Seen, frame: Frame) -> Further | None:
        """The objects that `first` lacks, in views of `frame` without the people of both rounds.

        None where there was no time or the detector failed. Raises nothing but a cancellation.
        """
        query = first.search.query
        room = query.max_objects - len(first.choice.objects)
        if room <= 0 or people_only(first.choice.scene, self._detection):
            self._counts[NOTHING].inc()
            return Further(replace(first, choice=Choice(()), read=ReadCodes()))
        until = query.deadline - self._detection.second_round_min_time_left_s
        if self._clock() >= until:
            self._counts[SKIPPED].inc()
            return None
        try:
            # A queue reports a passed deadline only when a batch ends, which may be later.
            async with asyncio.timeout(until - self._clock()):
                found = await self._look(first, frame, room, until)
        except TimeoutError:
            self._counts[SKIPPED].inc()
            return None
        except SightlineError as error:
            if error.kind not in NO_TIME:
                log.error("no second round: %s", error.kind.name, extra={"request_id": query.request_id})
            self._counts[SKIPPED if error.kind in NO_TIME else FAILED].inc()
            return None
        self._counts[FOUND if found.choice.objects else NOTHING].inc()
        return Further(in_views(first, frame, found.choice), found.people)

    async def _look(self, first: Seen, frame: Frame, room: int, until: float) -> FurtherChoice:
        query, watch = first.search.query, first.search.watch
        with watch.step(LOOK_CLOSER) as step:
            scenes = [await self._tile(query, frame, tile, until, step) for tile in TILES]
            return await self._threads.run(lambda: further(first.choice, scenes, room, self._detection))

    async def _tile(self, query: SearchQuery, frame: Frame, tile: Box, until: float, step: Step) -> TileScene:
        detector = self._engine.spec(DETECTOR)

        def work() -> ModelInput:
            step.runs()
            return tile_input(frame, tile, detector)

        seen = await self._threads.run(work)
        answer = await self._frames.submit([seen.pixels], deadline=until, lane=Lane.BATCH)
        return in_photo(to_scene(answer.results[0], seen.placement, detector, self._detection), tile, frame)


def in_views(first: Seen, frame: Frame, choice: Choice) -> Seen:
    """The photo of `first` with the further objects of `choice`, which see it without what that hides."""
    views, search = Views(frame, choice.hidden), first.search
    comparison = None if search.comparison is None else search.comparison.with_views(views)
    return Seen(replace(search, codes=NO_CODES, comparison=comparison), views, choice, ReadCodes())
