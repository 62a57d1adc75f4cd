"""Local features of the objects of a photo, compared with those of the products that are nearest to them.

Where the settings weigh colours, those of the object as a whole are compared with those of the images as well.
Rule: they only ever add reasons. Without time, or when the comparison fails, an object is ranked by what is known of
it. The features of a photo live in the thread that compares them, and no longer than that takes.
"""

import logging
from collections.abc import Mapping, Sequence
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
from sightline_server.settings import LocalFeatureSettings
from sightline_server.stages.local_features.colours import colours_of, likeness
from sightline_server.stages.local_features.describing import features_of
from sightline_server.stages.local_features.matching import LEAST_INLIERS, inliers
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.rank import FurtherReasons
from sightline_server.stages.redact import Views
from sightline_server.telemetry.metrics import Metrics
from sightline_server.telemetry.stopwatch import Stopwatch

log = logging.getLogger(__name__)

MATCHED, UNMATCHED, SKIPPED, FAILED = "matched", "unmatched", "skipped", "failed"
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
        self.clock = clock
        self._chosen = chosen
        # A counter that appears with its first object hides that object from rate().
        outcomes = (MATCHED, UNMATCHED, SKIPPED, FAILED)
        self.counts = {outcome: metrics.feature_checks.labels(outcome) for outcome in outcomes}

    def of_call(
        self, query: SearchQuery, views: Views, snapshot: Snapshot, watch: Stopwatch
    ) -> "FeatureComparison | None":
        """The comparison of one call with the products of `snapshot`; None where there is none."""
        kept = snapshot.local_features
        if kept is None or not self._chosen.get(snapshot.name, self.settings.enabled):
            return None
        return FeatureComparison(self, query, views, snapshot, kept, watch)


class FeatureComparison:
    """`find.Comparison` of one call; `skipped` names the step if an object was left out."""

    def __init__(
        self,
        parts: FeatureComparisons,
        query: SearchQuery,
        views: Views,
        snapshot: Snapshot,
        kept: ImageFeatures,
        watch: Stopwatch,
    ) -> None:
        self._parts = parts
        self._query = query
        self._views = views
        self._snapshot = snapshot
        self._kept = kept
        self._watch = watch
        self.products = parts.settings.most_products
        self._objects_left = parts.settings.most_objects
        self.skipped: tuple[SkippedStep, ...] = ()

    def with_views(self, views: Views) -> "FeatureComparison":
        """The comparison of further objects, which see the photo in other views; they count as objects of the photo."""
        further = FeatureComparison(self._parts, self._query, views, self._snapshot, self._kept, self._watch)
        further._objects_left = self._objects_left
        return further

    async def reasons(
        self, objects: Sequence[PhotoObject], near: Sequence[Sequence[Neighbour]]
    ) -> dict[str, FurtherReasons]:
        """See `find.Comparison`. Objects are compared one after the other: other photos need the threads, too."""
        found: dict[str, FurtherReasons] = {}
        for item, neighbours in zip(objects, near, strict=True):
            if not neighbours:
                continue
            if self._objects_left == 0:
                found[item.object_id] = self._left_out(SKIPPED)
            else:
                self._objects_left -= 1
                found[item.object_id] = await self._of_object(item, neighbours[: self.products])
        return found

    async def _of_object(self, item: PhotoObject, neighbours: Sequence[Neighbour]) -> FurtherReasons:
        parts = self._parts
        if self._is_late():
            return self._left_out(SKIPPED)
        with self._watch.step(LOCAL_FEATURES) as step:

            def work() -> FurtherReasons | None:
                step.runs()
                # The wait for the thread may have taken the time.
                return None if self._is_late() else self._compared(item, neighbours)

            try:
                found = await parts.threads.run(work)
            except Exception as error:  # whatever the library or the file raises, the object is ranked without it
                log.error(
                    "local features not compared: %s",
                    type(error).__name__,
                    extra={"request_id": self._query.request_id},
                )
                return self._left_out(FAILED)
        if found is None:
            return self._left_out(SKIPPED)
        matched = any(each.kind is ReasonKind.LOCAL_FEATURES for reasons in found.values() for each in reasons)
        parts.counts[MATCHED if matched else UNMATCHED].inc()
        return found

    def _is_late(self) -> bool:
        return self._query.deadline - self._parts.clock() < self._parts.settings.min_time_left_s

    def _left_out(self, outcome: str) -> FurtherReasons:
        self._parts.counts[outcome].inc()
        self.skipped = (SkippedStep.LOCAL_FEATURES,)
        return {}

    def _compared(self, item: PhotoObject, neighbours: Sequence[Neighbour]) -> FurtherReasons:
        """The reasons for the products of `neighbours`; on a thread."""
        settings = self._parts.settings
        box = self._parts.middle if item.is_whole_photo else item.box
        frame = self._views.of(box)
        described = features_of(frame, box)
        has_print, in_colour = len(described) >= LEAST_INLIERS, settings.colour_contribution > 0
        if not (has_print or in_colour):
            return {}
        links = self._snapshot.image_links([found.image for found in neighbours])
        stored = self._kept.of([(found.product_id, link) for found, link in zip(neighbours, links, strict=True)])
        images = {found.product_id: image for found, image in zip(neighbours, stored, strict=True) if image is not None}
        reasons = print_reasons(described, images, settings.contribution) if has_print else {}
        if not in_colour:
            return reasons
        return joined(reasons, colour_reasons(colours_of(frame, box), images, settings.colour_contribution))


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


def joined(*parts: Mapping[str, tuple[Reason, ...]]) -> dict[str, tuple[Reason, ...]]:
    """The reasons of all `parts`."""
    found: dict[str, tuple[Reason, ...]] = {}
    for part in parts:
        for product_id, reasons in part.items():
            found[product_id] = (*found.get(product_id, ()), *reasons)
    return found
