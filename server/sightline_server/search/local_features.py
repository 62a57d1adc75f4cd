"""Local features of the objects of a photo, compared with those of the products that are nearest to them.

Rule: they only ever add a reason. Without time, or when the comparison fails, an object is ranked by what is known of
it. The features of a photo live in the thread that compares them, and no longer than that takes.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from sightline_server.domain.events import SkippedStep
from sightline_server.domain.geometry import Box
from sightline_server.domain.items import Neighbour, PhotoObject, Reason, ReasonKind
from sightline_server.domain.request import SearchQuery
from sightline_server.domain.stages import LOCAL_FEATURES
from sightline_server.ports import Clock, ImageFeatures, Snapshot
from sightline_server.settings import LocalFeatureSettings
from sightline_server.stages.local_features.describing import features_of
from sightline_server.stages.local_features.matching import LEAST_INLIERS, inliers
from sightline_server.stages.photo_threads import PhotoThreads
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
    ) -> dict[str, dict[str, Reason]]:
        """See `find.Comparison`. Objects are compared one after the other: other photos need the threads, too."""
        found: dict[str, dict[str, Reason]] = {}
        for item, neighbours in zip(objects, near, strict=True):
            if not neighbours:
                continue
            if self._objects_left == 0:
                found[item.object_id] = self._left_out(SKIPPED)
            else:
                self._objects_left -= 1
                found[item.object_id] = await self._of_object(item, neighbours[: self.products])
        return found

    async def _of_object(self, item: PhotoObject, neighbours: Sequence[Neighbour]) -> dict[str, Reason]:
        parts = self._parts
        if self._is_late():
            return self._left_out(SKIPPED)
        with self._watch.step(LOCAL_FEATURES) as step:

            def work() -> dict[str, Reason] | None:
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
        parts.counts[MATCHED if found else UNMATCHED].inc()
        return found

    def _is_late(self) -> bool:
        return self._query.deadline - self._parts.clock() < self._parts.settings.min_time_left_s

    def _left_out(self, outcome: str) -> dict[str, Reason]:
        self._parts.counts[outcome].inc()
        self.skipped = (SkippedStep.LOCAL_FEATURES,)
        return {}

    def _compared(self, item: PhotoObject, neighbours: Sequence[Neighbour]) -> dict[str, Reason]:
        """The reasons for the products of `neighbours` that share points with the object; on a thread."""
        box = self._parts.middle if item.is_whole_photo else item.box
        described = features_of(self._views.of(box), box)
        if len(described) < LEAST_INLIERS:
            return {}
        links = self._snapshot.image_links([found.image for found in neighbours])
        stored = self._kept.of([(found.product_id, link) for found, link in zip(neighbours, links, strict=True)])
        reason = partial(reason_of, most=self._parts.settings.contribution)
        counts = {
            found.product_id: inliers(described, image)
            for found, image in zip(neighbours, stored, strict=True)
            if image is not None
        }
        return {product_id: reason(count) for product_id, count in counts.items() if count}


def reason_of(count: int, most: float) -> Reason:
    """The reason that `count` points in common are."""
    contribution = most * min(count, FULL_INLIERS) / FULL_INLIERS
    return Reason(ReasonKind.LOCAL_FEATURES, contribution, f"{count} points of its image are on the object as well")
