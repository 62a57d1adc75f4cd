"""Boxes and points: what a caller asks for, and the boxes of objects."""

from sightline.v1 import geometry_pb2
from sightline_client import events


def region_to_pb(region: events.Region) -> geometry_pb2.Region:
    """The message of a box to search, or of a point that a person tapped."""
    if isinstance(region, events.Point):
        return geometry_pb2.Region(tap=geometry_pb2.Point(x=region.x, y=region.y))
    return geometry_pb2.Region(box=box_to_pb(region))


def box_to_pb(box: events.Box) -> geometry_pb2.BoundingBox:
    """The message of a box."""
    return geometry_pb2.BoundingBox(x_min=box.x_min, y_min=box.y_min, x_max=box.x_max, y_max=box.y_max)
