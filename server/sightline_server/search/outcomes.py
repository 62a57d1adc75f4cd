"""The event of each object: its products, or why there are none; each is counted by its outcome.

Rule: an error that concerns the objects fails them; every other kind ends the call.
"""

import logging
from collections.abc import Mapping, Sequence

from sightline_server.domain.events import FailureReason, ObjectFailure, ObjectResults
from sightline_server.domain.items import PhotoObject, RankedProduct
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

Outcome = ObjectResults | ObjectFailure

OBJECT_FAULTS = {
    ErrorKind.MODEL_ANSWER: FailureReason.MODEL_ANSWER,
    ErrorKind.INTERNAL: FailureReason.INTERNAL,
}
"""Kinds that fail the objects concerned; every other kind ends the call."""

MESSAGES = {FailureReason.PERSON: "this part of the photo shows mostly a person, and people are not searched"}
"""The text for the caller; other reasons share one message."""


class Outcomes:
    """Makes the events of objects and counts them."""

    def __init__(self, metrics: Metrics) -> None:
        self._objects = metrics.objects
        # A counter that appears with its first object hides that object from rate().
        for outcome in ("searched", *(reason.value for reason in FailureReason)):
            self._objects.labels(outcome)

    def of_portion(
        self, objects: Sequence[PhotoObject], products: Mapping[str, tuple[RankedProduct, ...]], request_id: str
    ) -> list[Outcome]:
        """The events of objects that were searched; one without an entry in `products` had no usable embedding."""
        if len(products) < len(objects):
            log.error("objects without a usable embedding", extra={"request_id": request_id})
        return [
            self._results(item, products[item.object_id])
            if item.object_id in products
            else self.failure(item, FailureReason.MODEL_ANSWER)
            for item in objects
        ]

    def of_error(self, objects: Sequence[PhotoObject], error: SightlineError, request_id: str) -> list[Outcome]:
        """The events of objects that `error` fails. Raises `error` where it ends the call."""
        reason = OBJECT_FAULTS.get(error.kind)
        if reason is None:
            raise error
        log.error("objects not searched", exc_info=error, extra={"request_id": request_id})
        return [self.failure(item, reason) for item in objects]

    def _results(self, item: PhotoObject, products: tuple[RankedProduct, ...]) -> ObjectResults:
        self._objects.labels("searched").inc()
        return ObjectResults(item.object_id, products)

    def failure(self, item: PhotoObject, reason: FailureReason) -> ObjectFailure:
        """The event of an object that is not searched."""
        self._objects.labels(reason.value).inc()
        return ObjectFailure(item.object_id, reason, MESSAGES.get(reason, "this object could not be searched"))
