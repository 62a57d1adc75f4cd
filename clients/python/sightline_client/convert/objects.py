"""Objects of a photo, both ways."""

from sightline.v1 import lens_service_pb2
from sightline_client import events
from sightline_client.convert.geometry import box_to_pb

SOURCES = {
    events.ObjectSource.UNKNOWN: lens_service_pb2.OBJECT_SOURCE_UNSPECIFIED,
    events.ObjectSource.DETECTOR: lens_service_pb2.OBJECT_SOURCE_DETECTOR,
    events.ObjectSource.BOX: lens_service_pb2.OBJECT_SOURCE_BOX,
    events.ObjectSource.TAP: lens_service_pb2.OBJECT_SOURCE_TAP,
    events.ObjectSource.WHOLE_PHOTO: lens_service_pb2.OBJECT_SOURCE_WHOLE_PHOTO,
    events.ObjectSource.CODE: lens_service_pb2.OBJECT_SOURCE_CODE,
    events.ObjectSource.EMBEDDING: lens_service_pb2.OBJECT_SOURCE_EMBEDDING,
    events.ObjectSource.CROP: lens_service_pb2.OBJECT_SOURCE_CROP,
}
TAP_BOXES = {
    events.TapBox.UNKNOWN: lens_service_pb2.TAP_BOX_UNSPECIFIED,
    events.TapBox.DETECTION: lens_service_pb2.TAP_BOX_DETECTION,
    events.TapBox.GROWN: lens_service_pb2.TAP_BOX_GROWN,
    events.TapBox.SQUARE: lens_service_pb2.TAP_BOX_SQUARE,
}
_SOURCE_OF = {number: source for source, number in SOURCES.items()}
_TAP_BOX_OF = {number: tap_box for tap_box, number in TAP_BOXES.items()}


def object_from_pb(found: lens_service_pb2.DetectedObject) -> events.DetectedObject:
    """The typed object; a source or tap box that this client does not know is UNKNOWN."""
    return events.DetectedObject(
        object_id=found.object_id,
        box=events.Box(found.box.x_min, found.box.y_min, found.box.x_max, found.box.y_max),
        label=found.label,
        score=found.score,
        source=_SOURCE_OF.get(found.source, events.ObjectSource.UNKNOWN),
        tap_box=_tap_box_from_pb(found.tap_box),
    )


def object_to_pb(found: events.DetectedObject) -> lens_service_pb2.DetectedObject:
    """The message of an object."""
    return lens_service_pb2.DetectedObject(
        object_id=found.object_id,
        box=box_to_pb(found.box),
        label=found.label,
        score=found.score,
        source=SOURCES[found.source],
        tap_box=TAP_BOXES[found.tap_box or events.TapBox.UNKNOWN],
    )


def _tap_box_from_pb(number: lens_service_pb2.TapBox) -> events.TapBox | None:
    return None if number == lens_service_pb2.TAP_BOX_UNSPECIFIED else _TAP_BOX_OF.get(number, events.TapBox.UNKNOWN)
