"""The values of a search under way: what it has leased, and what is known of each of its images.

Rule: they live in the frames of one call. What comes after the choice of objects sees views without people.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sightline_server.domain.events import SkippedStep
from sightline_server.domain.items import ObjectSource, PhotoObject
from sightline_server.domain.request import SearchQuery, SearchTerms
from sightline_server.ports import Snapshot
from sightline_server.search.codes import ReadCodes
from sightline_server.search.find import NO_CODES, CodesByObject
from sightline_server.search.object_embedder import ObjectEmbedder
from sightline_server.search.second_look import SecondLooks
from sightline_server.search.text_encoder import EncodedText
from sightline_server.stages.choose import Choice
from sightline_server.stages.redact import Views
from sightline_server.telemetry.stopwatch import Stopwatch

QueryT = TypeVar("QueryT", bound=SearchTerms)


@dataclass(frozen=True, slots=True)
class Search(Generic[QueryT]):
    """One search under way: its query, the revision that it has leased, the embedder of that, and its times.

    `codes` are the products that codes in the photo name, by the object that they are on. `comparison` compares
    objects with the nearest products in further ways, where settings and catalog say so. `text` is the encoded text of
    the caller.
    """

    query: QueryT
    snapshot: Snapshot
    embedder: ObjectEmbedder
    watch: Stopwatch
    codes: CodesByObject = field(default_factory=lambda: NO_CODES)
    comparison: SecondLooks | None = None
    text: EncodedText | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Objects of one photo that are embedded together; `search` has the codes on them."""

    search: Search[SearchQuery]
    views: Views
    objects: Sequence[PhotoObject]


@dataclass(frozen=True, slots=True)
class Seen:
    """A photo whose people are hidden in its `views`, with its objects and the codes that were read."""

    search: Search[SearchQuery]
    views: Views
    choice: Choice
    read: ReadCodes

    @property
    def redacted(self) -> int:
        """People who were greyed out."""
        return len(self.choice.hidden.people) if self.choice.hidden else 0

    @property
    def skipped(self) -> tuple[SkippedStep, ...]:
        """The steps that were left out up to now."""
        comparison = self.search.comparison
        return (*self.read.skipped, *(comparison.skipped if comparison else ()))

    def parts(self) -> list[Part]:
        """The objects that are embedded, in the parts that suit the embedder now."""
        objects = tuple(item for item in self.choice.objects if to_embed(item, self.choice))
        portions = self.search.embedder.portions(objects) if objects else []
        return [Part(self.search, self.views, each) for each in portions]


def to_embed(item: PhotoObject, choice: Choice) -> bool:
    """Returns whether an object is embedded: not on a person, and not a code alone."""
    return item.object_id not in choice.on_person and item.source is not ObjectSource.CODE
