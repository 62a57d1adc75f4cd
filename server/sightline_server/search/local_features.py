"""Local features of the objects of a photo, compared with those of the products that are nearest to them.

Where the settings weigh colours, those of the object as a whole are compared with those of the images as well.
Rule: the features of a photo live in the thread that compares them, and no longer than that takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.events import SkippedStep
from sightline_server.domain.geometry import Box
from sightline_server.domain.items import Neighbour, PhotoObject, Reason, ReasonKind
from sightline_server.domain.local_features import LocalFeatures
from sightline_server.domain.request import SearchQuery
from sightline_server.domain.stages import LOCAL_FEATURES
from sightline_server.ports import Clock, ImageFeatures, Snapshot
from sightline_server.search.second_look import OUTCOMES, Conditions, Kind, SecondLook, joined
from sightline_server.settings import LocalFeatureSettings
from sightline_server.stages.local_features.colours import colours_of, likeness
from sightline_server.stages.local_features.describing import features_of
from sightline_server.stages.local_features.matching import LEAST_INLIERS, inliers
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.rank import FurtherReasons
from sightline_server.stages.redact import Views
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.stopwatch import Step, Stopwatch

KIND = Kind("local features", ReasonKind.LOCAL_FEATURES, LOCAL_FEATURES, SkippedStep.LOCAL_FEATURES)
FULL_INLIERS = 60
"""Points in common from which on the contribution is the whole one. More of them say that the photo is sharp, not that
the product is another one."""


class FeatureComparisons:
    """Compares local features in searches of catalogs that have them.

    `chosen` has the catalogs for which `settings.enabled` does not count.
    """

    def __init__(
        self,
        threads: PhotoThreads,
        settings: LocalFeatureSettings,
        chosen: Mapping[str, bool],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.threads = threads
        self.settings = settings
        self.middle = Box.middle(settings.whole_photo_share)
        self._chosen = chosen
        # A counter that appears with its first object hides that object from rate().
        counts = {outcome: metrics.feature_checks.labels(outcome) for outcome in OUTCOMES}
        self.conditions = Conditions(KIND, settings, counts, clock)

    def of_call(self, query: SearchQuery, views: Views, snapshot: Snapshot, watch: Stopwatch) -> SecondLook | None:
        """The comparison of one call with the products of `snapshot`; None where there is none."""
        kept = snapshot.local_features
        if kept is None or not self._chosen.get(snapshot.name, self.settings.enabled):
            return None
        return SecondLook(FeatureComparison(self, query, views, snapshot, kept), query, watch, self.conditions)


@dataclass(frozen=True, slots=True)
class FeatureComparison:
    """`second_look.Way` of one call."""

    parts: FeatureComparisons
    query: SearchQuery
    views: Views
    snapshot: Snapshot
    kept: ImageFeatures

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
        settings = self.parts.settings
        box = self.parts.middle if item.is_whole_photo else item.box
        frame = self.views.of(box)
        described = features_of(frame, box)
        has_print, in_colour = len(described) >= LEAST_INLIERS, settings.colour_contribution > 0
        if not (has_print or in_colour):
            return {}
        stored = stored_features(self.snapshot, self.kept, neighbours)
        images = {found.product_id: image for found, image in zip(neighbours, stored, strict=True) if image is not None}
        reasons = print_reasons(described, images, settings.contribution) if has_print else {}
        if not in_colour:
            return reasons
        return joined(reasons, colour_reasons(colours_of(frame, box), images, settings.colour_contribution))


def stored_features(
    snapshot: Snapshot, kept: ImageFeatures, neighbours: Sequence[Neighbour]
) -> list[LocalFeatures | None]:
    """The features that are kept of the closest image of each of `neighbours`. Blocking. Raises `SightlineError`."""
    links = snapshot.image_links([found.image for found in neighbours])
    return kept.of([(found.product_id, link) for found, link in zip(neighbours, links, strict=True)])


def print_reasons(
    described: LocalFeatures, images: Mapping[str, LocalFeatures], most: float
) -> dict[str, tuple[Reason, ...]]:
    """The reasons for the products whose images, by the products' ids, share points with an object."""
    counts = {product_id: inliers(described, image) for product_id, image in images.items()}
    return {product_id: (reason_of(count, most),) for product_id, count in counts.items() if count}


def reason_of(count: int, most: float) -> Reason:
    """The reason that `count` points in common are."""
    contribution = most * min(count, FULL_INLIERS) / FULL_INLIERS
    return Reason(ReasonKind.LOCAL_FEATURES, contribution, f"{count} points of its image are on the object as well")


def colour_reasons(
    colours: NDArray[np.uint8], images: Mapping[str, LocalFeatures], weight: float
) -> dict[str, tuple[Reason, ...]]:
    """The reasons that the colours of an object are, for the products whose images have theirs.

    They are about the average of those, so that products which are compared gain nothing over those which are not.
    """
    alike = {
        product_id: likeness(colours, image.colours)
        for product_id, image in images.items()
        if image.colours is not None
    }
    if len(alike) < 2:
        return {}
    average = fmean(alike.values())
    text = "its colours are {:.0%} like those of the object; the average is {:.0%}"
    return {
        product_id: (Reason(ReasonKind.COLOUR, weight * (each - average), text.format(each, average)),)
        for product_id, each in alike.items()
    }
