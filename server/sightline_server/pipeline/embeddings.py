"""The search of embeddings that the caller made: nothing is decoded, detected or embedded.

Accepted -> Detected -> `answers` -> Done
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from sightline_server.domain.embedders import other_embedder
from sightline_server.domain.events import Accepted, Detected, Event
from sightline_server.domain.geometry import Box
from sightline_server.domain.items import EmbeddedObject, ObjectSource, PhotoObject
from sightline_server.domain.request import EmbeddingsQuery
from sightline_server.pipeline.answers import Answers
from sightline_server.pipeline.done import done
from sightline_server.search.under_way import Search


@dataclass(frozen=True, slots=True)
class EmbeddingsFlow:
    """Searches embeddings of callers."""

    answers: Answers

    async def events(self, search: Search[EmbeddingsQuery]) -> AsyncGenerator[Event, None]:
        """The events of one search. Raises `SightlineError`, EMBEDDER_MISMATCH before the first event."""
        query, snapshot, spec = search.query, search.snapshot, search.embedder.spec
        # Checked with the request, and once more: the catalog may have got another embedder since.
        if query.embedder != spec.identity:
            raise other_embedder(spec.identity)
        yield Accepted(query.request_id, snapshot.name, snapshot.revision)
        objects = [
            EmbeddedObject(PhotoObject(f"o{number}", Box.whole(), ObjectSource.EMBEDDING), embedding)
            for number, embedding in enumerate(query.embeddings(), start=1)
        ]
        items = tuple(each.item for each in objects)
        yield Detected(items)
        for answer in await self.answers.of_embedded(search, items, objects):
            yield answer
        yield done(search, detector="")
