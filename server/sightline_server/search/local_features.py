"""Local features of the objects of a photo, compared with those of the products that are nearest to them.

What each finding counts is in weights: those fitted for the catalog, else those of its embedder. A weight of 0 compares
nothing.
Rule: the features of a photo live in the thread that compares them, and no longer than that takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sightline_server.domain.events import SkippedStep
from sightline_server.domain.geometry import Box
from sightline_server.domain.items import Neighbour, PhotoObject, Reason, ReasonKind
from sightline_server.domain.local_features import LocalFeatures
from sightline_server.domain.request import SearchQuery
from sightline_server.domain.stages import LOCAL_FEATURES
from sightline_server.domain.weights import Weights
from sightline_server.ports import Clock, ImageFeatures, Snapshot
from sightline_server.search.second_look import OUTCOMES, Conditions, Kind, SecondLook, joined
from sightline_server.settings import LocalFeatureSettings
from sightline_server.stages.local_features.evidence import likenesses, object_features, points_in_common
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.rank import FurtherReasons
from sightline_server.stages.redact import Views
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.stopwatch import Step, Stopwatch

KIND = Kind("local features", ReasonKind.LOCAL_FEATURES, LOCAL_FEATURES, SkippedStep.LOCAL_FEATURES)


class FeatureComparisons:
    """Compares local features in searches of catalogs that have them.

    `chosen` has the catalogs for which `settings.enabled` does not count. `weights` are those for the catalogs of each
    embedder, by its identity.
    """

    def __init__(
        self,
        threads: PhotoThreads,
        settings: LocalFeatureSettings,
        chosen: Mapping[str, bool],
        weights: Mapping[str, Weights],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.threads = threads
        self.settings = settings
        self.middle = Box.middle(settings.whole_photo_share)
        self.weights = weights
        self._chosen = chosen
        # A counter that appears with its first object hides that object from rate().
        counts = {outcome: metrics.feature_checks.labels(outcome) for outcome in OUTCOMES}
        self.conditions = Conditions(KIND, settings, counts, clock)

    def of_call(self, query: SearchQuery, views: Views, snapshot: Snapshot, watch: Stopwatch) -> SecondLook | None:
        """The comparison of one call with the products of `snapshot`; None where there is none."""
        kept = snapshot.local_features
        if kept is None or not self._chosen.get(snapshot.name, self.settings.enabled):
            return None
        weights = snapshot.weights or self.weights[snapshot.embedder]
        if not (weights.local_features or weights.colours):
            return None
        return SecondLook(FeatureComparison(self, query, views, snapshot, kept, weights), query, watch, self.conditions)


@dataclass(frozen=True, slots=True)
class FeatureComparison:
    """`second_look.Way` of one call."""

    parts: FeatureComparisons
    query: SearchQuery
    views: Views
    snapshot: Snapshot
    kept: ImageFeatures
    weights: Weights

    def with_views(self, views: Views) -> "FeatureComparison":
        """See `second_look.Way`."""
        return replace(self, views=views)

    async def compared(self, item: PhotoObject, neighbours: Sequence[Neighbour], step: Step) -> FurtherReasons | None:
        """See `second_look.Way`."""

        def work() -> FurtherReasons | None:
            step.runs()
            # The wait for the thread may have taken the time.
            return None if self.parts.conditions.is_late(self.query) else self._reasons(item, neighbours)

        return await self.parts.threads.run(work)

    def _reasons(self, item: PhotoObject, neighbours: Sequence[Neighbour]) -> FurtherReasons:
        """The reasons for the products of `neighbours`; on a thread."""
        weights = self.weights
        points, colours = weights.local_features > 0, weights.colours > 0
        described = object_features(self.views, item, self.parts.middle, points=points, colours=colours)
        if len(described) < weights.least_inliers and not colours:
            return {}
        stored = stored_features(self.snapshot, self.kept, neighbours)
        images = {found.product_id: image for found, image in zip(neighbours, stored, strict=True) if image is not None}
        found = point_reasons(points_in_common(described, images), weights)
        return joined(found, colour_reasons(*likenesses(described.colours, images), weights))


def stored_features(
    snapshot: Snapshot, kept: ImageFeatures, neighbours: Sequence[Neighbour]
) -> list[LocalFeatures | None]:
    """The features that are kept of the closest image of each of `neighbours`. Blocking. Raises `SightlineError`."""
    links = snapshot.image_links([found.image for found in neighbours])
    return kept.of([(found.product_id, link) for found, link in zip(neighbours, links, strict=True)])


def point_reasons(counts: Mapping[str, int], weights: Weights) -> dict[str, tuple[Reason, ...]]:
    """The reasons that points in common are, for the products with enough of them."""
    text = "{} points of its image are on the object as well"
    return {
        product_id: (Reason(ReasonKind.LOCAL_FEATURES, weights.of_points(count), text.format(count)),)
        for product_id, count in counts.items()
        if count >= weights.least_inliers
    }


def colour_reasons(alike: Mapping[str, float], average: float, weights: Weights) -> dict[str, tuple[Reason, ...]]:
    """The reasons that the colours of an object are, for the products whose images are `alike`.

    They are about the average of those, so that products which are compared gain nothing over those which are not.
    """
    text = "its colours are {:.0%} like those of the object; the average is {:.0%}"
    return {
        product_id: (Reason(ReasonKind.COLOUR, weights.colours * (each - average), text.format(each, average)),)
        for product_id, each in alike.items()
    }
