"""Models that raise or return invalid output: only the call or the object concerned fails, with our message."""

import grpc
import pytest

from sightline.v1 import geometry_pb2, lens_service_pb2
from tests.support.rest import unharmed
from tests.support.small_shop import (
    DETECTOR_RAISES,
    EMBEDDER_RAISES,
    NOT_A_NUMBER,
    SHORT,
    WELL,
    Colour,
    photo_of,
)
from tests.support.world import RunningServer, asked, refused, search

pytestmark = pytest.mark.engine


def half(left: float) -> geometry_pb2.Region:
    """A box of half the photo that begins at `left`."""
    return geometry_pb2.Region(box=geometry_pb2.BoundingBox(x_min=left, y_min=0, x_max=left + 0.5, y_max=1))


async def test_a_detector_that_raises_is_an_internal_error_of_that_call(shop_server: RunningServer) -> None:
    async with unharmed(shop_server), grpc.aio.insecure_channel(shop_server.target) as channel:
        error = await refused(channel, asked(photo_of(DETECTOR_RAISES)))
        assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
        assert error.events == ["accepted"]
        assert "ONNX" not in error.message


@pytest.mark.parametrize(
    ("colour", "reason"),
    [
        (NOT_A_NUMBER, lens_service_pb2.FAILURE_REASON_MODEL_ANSWER),
        (SHORT, lens_service_pb2.FAILURE_REASON_MODEL_ANSWER),
        (EMBEDDER_RAISES, lens_service_pb2.FAILURE_REASON_INTERNAL),
    ],
)
async def test_an_embedder_that_fails_is_a_failure_of_the_object(
    shop_server: RunningServer, colour: Colour, reason: int
) -> None:
    async with unharmed(shop_server), grpc.aio.insecure_channel(shop_server.target) as channel:
        # Half of the photo, because the detector, which sees all of it, has its own faults for the same colours.
        answer = await search(channel, asked(photo_of(WELL, colour), regions=[half(0.5)]))
        assert [failure.reason for failure in answer.failures.values()] == [reason]
        assert answer.products == {}


async def test_one_object_without_an_embedding_does_not_take_the_others_along(shop_server: RunningServer) -> None:
    sides = [half(0.0), half(0.5)]
    async with unharmed(shop_server), grpc.aio.insecure_channel(shop_server.target) as channel:
        answer = await search(channel, asked(photo_of(WELL, NOT_A_NUMBER), regions=sides))
        assert len(answer.failures) == 1
        assert len(answer.products) == 1
