"""Printed text on the objects of a photo, compared with the names of the nearest products and the text of their images.

Rule: what was read lives in the comparison of one object. It is in no answer, log, metric, trace or file, and the
reason that callers get says how alike two texts are and never what they say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sightline_server.domain.events import SkippedStep
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.items import Neighbour, PhotoObject, Product, Reason, ReasonKind
from sightline_server.domain.request import Lane, SearchQuery
from sightline_server.domain.stages import PRINTED_TEXT
from sightline_server.domain.weights import Weights
from sightline_server.ports import Clock, Snapshot
from sightline_server.search.local_features import stored_features
from sightline_server.search.printed_text_models import BatchedPrintedTextModels
from sightline_server.search.second_look import OUTCOMES, Conditions, Kind, SecondLook
from sightline_server.settings import PrintedTextSettings
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.printed_text.likeness import likenesses, tells_apart
from sightline_server.stages.printed_text.lines import readable_part
from sightline_server.stages.printed_text.reading import TextReading
from sightline_server.stages.rank import FurtherReasons
from sightline_server.stages.redact import Views
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.stopwatch import Step, Stopwatch

KIND = Kind("printed text", ReasonKind.PRINTED_TEXT, PRINTED_TEXT, SkippedStep.PRINTED_TEXT)
Texts = Mapping[str, Sequence[str]]
"""The name of each product and the text of its image, by the ids of the products."""


class PrintedTextComparisons:
    """Compares printed text in searches; `models` are None where none is read, which costs a search nothing.

    `weights` are those for the catalogs of each embedder, by its identity.
    """

    def __init__(
        self,
        threads: PhotoThreads,
        models: BatchedPrintedTextModels | None,
        settings: PrintedTextSettings,
        weights: Mapping[str, Weights],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.threads = threads
        self.settings = settings
        self.middle = Box.middle(settings.whole_photo_share)
        self._models = models
        self._weights = weights
        # A counter that appears with its first object hides that object from rate().
        counts = {outcome: metrics.text_checks.labels(outcome) for outcome in OUTCOMES}
        self.conditions = Conditions(KIND, settings, counts, clock)

    def of_call(self, query: SearchQuery, views: Views, snapshot: Snapshot, watch: Stopwatch) -> SecondLook | None:
        """The comparison of one call with the products of `snapshot`; None where there is none."""
        if self._models is None:
            return None
        weight = (snapshot.weights or self._weights[snapshot.embedder]).printed_text
        if not weight:
            return None
        reading = self.reading(self._models, query.lane)
        way = PrintedTextComparison(self, reading, query, views, snapshot, weight)
        return SecondLook(way, query, watch, self.conditions)

    def reading(self, models: BatchedPrintedTextModels, lane: Lane) -> TextReading:
        """The reading of the text of one object, for calls of `lane`."""
        settings = self.settings
        return TextReading(models.of_lane(lane), self.threads, settings.most_lines, settings.min_confidence)


@dataclass(frozen=True, slots=True)
class PrintedTextComparison:
    """`second_look.Way` of one call."""

    parts: PrintedTextComparisons
    reading: TextReading
    query: SearchQuery
    views: Views
    snapshot: Snapshot
    weight: float

    def with_views(self, views: Views) -> "PrintedTextComparison":
        """See `second_look.Way`."""
        return replace(self, views=views)

    async def compared(self, item: PhotoObject, neighbours: Sequence[Neighbour], step: Step) -> FurtherReasons | None:
        """See `second_look.Way`. No model runs where the texts of the products cannot tell them apart."""
        products = self.snapshot.products([found.row for found in neighbours])
        box = self.parts.middle if item.is_whole_photo else item.box

        def work() -> tuple[Texts, Frame | None] | None:
            step.runs()
            # The wait for the thread may have taken the time.
            if self.parts.conditions.is_late(self.query):
                return None
            texts = self._texts(products, neighbours)
            return texts, readable_part(self.views.of(box), box) if tells_apart(texts) else None

        prepared = await self.parts.threads.run(work)
        if prepared is None:
            return None
        texts, part = prepared
        if part is None:
            return {}
        # `SecondLook` ends the wait at the same instant; a batch of which no caller waits any more ends with it.
        text = await self.reading.of(part, self.query.deadline - self.parts.settings.min_time_left_s / 2)
        if not text:
            return {}
        return await self.parts.threads.run(lambda: text_reasons(text, texts, self.weight))

    def _texts(self, products: Sequence[Product], neighbours: Sequence[Neighbour]) -> Texts:
        """The name of each product, and the text of its closest image where the catalog keeps that; on a thread."""
        kept = self.snapshot.local_features
        stored = stored_features(self.snapshot, kept, neighbours) if kept is not None else [None] * len(neighbours)
        return {
            product.id: (f"{product.title}\n{product.brand}", (image.text or "") if image is not None else "")
            for product, image in zip(products, stored, strict=True)
        }


def text_reasons(text: str, texts: Texts, most: float) -> dict[str, tuple[Reason, ...]]:
    """The reasons for the products whose `texts` are like the `text` on an object."""
    return {product_id: (reason_of(likeness, most),) for product_id, likeness in likenesses(text, texts).items()}


def reason_of(likeness: float, most: float) -> Reason:
    """The reason that a likeness 0..1 is."""
    said = f"the text on the object is {likeness:.0%} like its name or the text of its image"
    return Reason(ReasonKind.PRINTED_TEXT, most * likeness, said)
