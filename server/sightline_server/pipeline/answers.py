"""Objects -> the event of each: crop, embed, search, rank.

Rule: the first part of a photo is answered while the next ones are under way, and each object has its event in the
order of the objects. What fails for objects is their event; what ends a call is raised.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass

from sightline_server.domain.events import FailureReason
from sightline_server.domain.items import EmbeddedObject, ObjectSource, PhotoObject
from sightline_server.domain.request import SearchQuery
from sightline_server.errors import SightlineError
from sightline_server.search.find import Find
from sightline_server.search.object_embedder import Portion
from sightline_server.search.outcomes import Outcome, Outcomes
from sightline_server.search.under_way import Part, QueryT, Search
from sightline_server.stages.choose import Choice
from sightline_server.stages.uncancelled import cancelled


@dataclass(frozen=True, slots=True)
class Answers:
    """Makes the events of objects. Raises `SightlineError` for what ends the call."""

    find: Find
    outcomes: Outcomes

    def on_people(self, choice: Choice) -> Iterator[Outcome]:
        """The events of the objects that are mostly on a person: they are not searched."""
        for item in choice.objects:
            if item.object_id in choice.on_person:
                yield self.outcomes.failure(item, FailureReason.PERSON)

    def of_codes(self, search: Search[SearchQuery], objects: Sequence[PhotoObject]) -> list[Outcome]:
        """The events of the objects that are codes alone: nothing is embedded for them."""
        alone = [item for item in objects if item.source is ObjectSource.CODE]
        products = self.find.of_codes(search.query, search.snapshot, alone, search.codes)
        return self.outcomes.of_portion(alone, products, search.query.request_id)

    async def of_parts(self, parts: Sequence[Part]) -> AsyncGenerator[Outcome, None]:
        """The events of the objects in their order; those of the first part while the next ones are under way."""
        if not parts:
            return
        head, *tail = parts
        first = await head.search.embedder.crop(head.views, head.objects, head.search.watch)
        # They begin with their crops, so the first part is in the embedder's queue before them.
        rest = [asyncio.create_task(self._later(each)) for each in tail]
        try:
            for answer in await self._embedded(head.search, first):
                yield answer
            while rest:
                for answer in await rest.pop(0):
                    yield answer
        finally:
            # Taken out of the list: a task that failed would keep the photo alive in a circle with this frame.
            while rest:
                await cancelled(rest.pop())

    async def of_embedded(
        self, search: Search[QueryT], objects: Sequence[PhotoObject], embedded: Sequence[EmbeddedObject]
    ) -> list[Outcome]:
        """The events of `objects`, of which `embedded` are those that can be searched."""
        query = search.query
        try:
            if search.text is not None:
                embedded = await search.text.join(embedded)
            products = await self.find.products(
                query, search.snapshot, embedded, search.watch, search.codes, search.comparison
            )
        except SightlineError as error:
            return self.outcomes.of_error(objects, error, query.request_id)
        return self.outcomes.of_portion(objects, products, query.request_id)

    async def _later(self, part: Part) -> list[Outcome]:
        search = part.search
        return await self._embedded(search, await search.embedder.crop(part.views, part.objects, search.watch))

    async def _embedded(self, search: Search[SearchQuery], portion: Portion) -> list[Outcome]:
        query = search.query
        try:
            embedded = await search.embedder.embed(query, portion, search.watch)
        except SightlineError as error:
            return self.outcomes.of_error(portion.objects, error, query.request_id)
        return await self.of_embedded(search, portion.objects, embedded)
