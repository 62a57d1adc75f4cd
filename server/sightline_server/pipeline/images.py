"""The search of a photo, or of several crops that the caller made.

Accepted   after the photos are decoded: what cannot be decoded has no event
Detected   `objects`: the objects of all photos, people hidden
results    people and codes at once, then `answers`
Detected, results   further objects, where the caller wants a second round
Done
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from itertools import chain

from sightline_server.domain.events import Accepted, Detected, Event, SkippedStep
from sightline_server.domain.image import Frame
from sightline_server.domain.models import DETECTOR
from sightline_server.domain.request import SearchQuery
from sightline_server.pipeline.answers import Answers
from sightline_server.pipeline.done import done
from sightline_server.pipeline.objects import ObjectFinder
from sightline_server.ports import Engine
from sightline_server.search.second_round import SecondRound
from sightline_server.search.under_way import Search, Seen
from sightline_server.stages.together import together


@dataclass(frozen=True, slots=True)
class ImagesFlow:
    """Searches images: each is decoded and detected by itself, and all of them are answered together."""

    engine: Engine
    objects: ObjectFinder
    answers: Answers
    second_round: SecondRound

    async def events(self, searches: Sequence[Search[SearchQuery]]) -> AsyncGenerator[Event, None]:
        """The events of one search, which has one of `searches` for each image.

        Raises `SightlineError`, INVALID_IMAGE and LIMIT_EXCEEDED before the first event.
        """
        query, snapshot, watch = searches[0].query, searches[0].snapshot, searches[0].watch
        photos = await together([partial(self.objects.look.decode, each.query, watch) for each in searches])
        yield Accepted(query.request_id, snapshot.name, snapshot.revision)
        seen = await together([partial(self.objects.see, *each) for each in zip(searches, photos, strict=True)])
        # The detector's inputs are not needed any more, and the frame only for a second round.
        frame = photos[0].frame if query.look_closer else None
        del photos
        yield Detected(tuple(chain(*(each.choice.objects for each in seen))), sum(each.redacted for each in seen))
        for each in seen:
            for answer in self.answers.on_people(each.choice):
                yield answer
        for each in seen:
            for answer in self.answers.of_codes(each.search, each.choice.objects):
                yield answer
        async with aclosing(self.answers.of_parts([part for each in seen for part in each.parts()])) as answers:
            async for answer in answers:
                yield answer
        skipped = list(chain(*(each.skipped for each in seen)))
        if frame is not None:
            async with aclosing(self._further(seen[0], frame, skipped)) as events:
                async for event in events:
                    yield event
        detector = self.engine.spec(DETECTOR).identity
        yield done(searches[0], detector, seen[0].choice.notice, tuple(dict.fromkeys(skipped)))

    async def _further(self, first: Seen, frame: Frame, skipped: list[SkippedStep]) -> AsyncGenerator[Event, None]:
        """The events of the objects that only a second round finds; adds to `skipped` what was left out."""
        further = await self.second_round.further(first, frame)
        if further is None:
            skipped.append(SkippedStep.LOOK_CLOSER)
            return
        yield Detected(further.seen.choice.objects, further.people, further=True)
        async with aclosing(self.answers.of_parts(further.seen.parts())) as answers:
            async for answer in answers:
                yield answer
        skipped.extend(further.seen.skipped)
