"""A whole answer: the events of one search, collected into one value for each object."""

from collections.abc import Iterable
from dataclasses import dataclass

from sightline_client import events


@dataclass(frozen=True, slots=True)
class AnsweredObject:
    """An object and what was found for it; `failure` says why there is nothing."""

    object: events.DetectedObject
    products: tuple[events.RankedProduct, ...] = ()
    failure: events.ObjectFailure | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """All objects in the order of `Detected`, those of a second round last, and the closing facts."""

    request_id: str
    objects: tuple[AnsweredObject, ...]
    done: events.Done | None

    @classmethod
    def of(cls, arrived: Iterable[events.Event]) -> "Answer":
        """Puts events together; those of a broken stream give the part that is known.

        Results for an object that `Detected` does not name are left out.
        """
        request_id, done = "", None
        order: list[events.DetectedObject] = []
        found: dict[str, AnsweredObject] = {}
        for event in arrived:
            match event:
                case events.Accepted():
                    request_id = event.request_id
                case events.Detected():
                    new = {each.object_id: AnsweredObject(each) for each in event.objects}
                    order = [*order, *event.objects] if event.further else list(event.objects)
                    found = {**found, **new} if event.further else new
                case events.ObjectResults() if event.object_id in found:
                    found[event.object_id] = AnsweredObject(found[event.object_id].object, event.products)
                case events.ObjectFailure() if event.object_id in found:
                    found[event.object_id] = AnsweredObject(found[event.object_id].object, failure=event)
                case events.Done():
                    done = event
        return cls(request_id, tuple(found[each.object_id] for each in order), done)
