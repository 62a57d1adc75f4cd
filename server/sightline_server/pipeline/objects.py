"""A decoded photo -> its objects: detector and codes at the same time, then views without people.

Rule: objects are cropped and compared from the views, never from the photo.
"""

from dataclasses import dataclass, replace

from sightline_server.domain.request import SearchQuery
from sightline_server.ports import Snapshot
from sightline_server.search.codes import Codes, ReadCodes
from sightline_server.search.local_features import FeatureComparisons
from sightline_server.search.look import DecodedPhoto, Look
from sightline_server.search.printed_text import PrintedTextComparisons
from sightline_server.search.second_look import second_looks
from sightline_server.search.under_way import Search, Seen
from sightline_server.stages.choose import Choice
from sightline_server.stages.codes.objects import join
from sightline_server.stages.redact import Views
from sightline_server.telemetry.stopwatch import Stopwatch


@dataclass(frozen=True, slots=True)
class ObjectFinder:
    """Finds the objects of photos, and says with what they are compared once they are searched."""

    look: Look
    codes: Codes
    features: FeatureComparisons
    printed_texts: PrintedTextComparisons

    async def see(self, search: Search[SearchQuery], photo: DecodedPhoto) -> Seen:
        """The objects of a photo, its codes, and its views without people. Raises `SightlineError`."""
        query, snapshot, watch = search.query, search.snapshot, search.watch
        choice, read = await self._choose(query, photo, snapshot, watch)
        coded = join(query, choice, await self.codes.matched(snapshot, read.codes))
        views = Views(photo.frame, choice.hidden)
        comparison = second_looks(
            self.features.of_call(query, views, snapshot, watch),
            self.printed_texts.of_call(query, views, snapshot, watch),
        )
        return Seen(replace(search, codes=coded.codes, comparison=comparison), views, coded.choice, read)

    async def _choose(
        self, query: SearchQuery, photo: DecodedPhoto, snapshot: Snapshot, watch: Stopwatch
    ) -> tuple[Choice, ReadCodes]:
        """The objects of a photo and its codes, looked for at the same time."""
        async with self.codes.reading(query, photo.frame, snapshot, watch) as reading:
            return await self.look.choose(query, photo, watch), await reading
