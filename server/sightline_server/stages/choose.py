"""Detections and the request's regions -> the objects that are looked up. Pure.

Rule: there is always at least one object, because a person who tapped Lens gets an answer.
"""

from sightline_server.domain.geometry import Box, smallest_covering
from sightline_server.domain.image import Frame
from sightline_server.domain.items import Detection, ObjectSource, PhotoObject
from sightline_server.domain.request import Region, SearchQuery
from sightline_server.settings import DetectionSettings


def choose(
    query: SearchQuery, frame: Frame, detections: tuple[Detection, ...], settings: DetectionSettings
) -> tuple[PhotoObject, ...]:
    """One object per region, or else the best detections, or else the whole photo."""
    if query.regions:
        return tuple(
            of_region(f"o{place}", region, frame, detections, settings)
            for place, region in enumerate(query.regions, start=1)
        )
    if not detections:
        return (PhotoObject("o1", Box.whole(), ObjectSource.WHOLE_PHOTO),)
    return tuple(
        PhotoObject(f"o{place}", found.box, ObjectSource.DETECTOR, found.label, found.score)
        for place, found in enumerate(detections[: query.max_objects], start=1)
    )


def of_region(
    object_id: str, region: Region, frame: Frame, detections: tuple[Detection, ...], settings: DetectionSettings
) -> PhotoObject:
    """A box as it is; a tap as the smallest detection that covers it, or else a square around it."""
    if isinstance(region, Box):
        return PhotoObject(object_id, region, ObjectSource.BOX)
    index = smallest_covering([found.box for found in detections], region)
    if index is None:
        square = Box.square_around(region, settings.tap_square, frame.width / frame.height)
        return PhotoObject(object_id, square, ObjectSource.TAP)
    found = detections[index]
    return PhotoObject(object_id, found.box, ObjectSource.TAP, found.label, found.score)
