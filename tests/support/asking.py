"""Requests of a contract test, and what came of them."""

from typing import Any

import grpc

from sightline.v1 import geometry_pb2, lens_service_pb2
from tests.support.pictures import encode, gradient

PHOTO = encode(gradient(96, 96))


def asked(**fields: Any) -> lens_service_pb2.SearchRequest:
    """A search of `PHOTO`, unless `fields` say otherwise."""
    return lens_service_pb2.SearchRequest(**{"photo": PHOTO, **fields})


def box(*corners: float) -> geometry_pb2.Region:
    """A region: x_min, y_min, x_max, y_max."""
    names = ("x_min", "y_min", "x_max", "y_max")
    return geometry_pb2.Region(box=geometry_pb2.BoundingBox(**dict(zip(names, corners, strict=True))))


async def events_of(call: Any) -> list[lens_service_pb2.SearchResponse]:
    """The rest of the stream; raises its error. One by one, as gRPC allows one way of reading a call only."""
    events = []
    while (event := await call.read()) is not grpc.aio.EOF:
        events.append(event)
    return events


def kinds(events: list[lens_service_pb2.SearchResponse]) -> list[str]:
    """The kind of each event."""
    return [event.WhichOneof("event") or "" for event in events]
