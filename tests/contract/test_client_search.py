"""The client against a LensService that plays a script, through a real channel."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from sightline.v1 import lens_service_pb2
from sightline_client import (
    Accepted,
    AsyncClient,
    Box,
    Client,
    ClientOptions,
    DeadlineExceededError,
    Detected,
    DetectedObject,
    Event,
    InvalidRequestError,
    Lane,
    MatchLevel,
    ObjectResults,
    ObjectSource,
    OverloadedError,
    PhotoTooLargeError,
    Point,
    RetryOptions,
    SearchCancelledError,
    StreamBrokenError,
    UnavailableError,
)
from tests.support.fake_lens import (
    ANSWER,
    UNKNOWN_LEVEL,
    FakeLens,
    Hang,
    cancelled,
    ranked,
    serving,
    status_of,
    unavailable,
)

PHOTO = b"\xff\xd8 a photo"


class Sleeps:
    """Replaces `asyncio.sleep`: notes the delays and takes none."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    async def __call__(self, delay: float) -> None:
        self.delays.append(delay)


async def collect(client: AsyncClient, **asked: object) -> list[Event]:
    return [event async for event in client.search(PHOTO, **asked)]  # type: ignore[arg-type]


async def test_events_arrive_typed_and_in_order() -> None:
    async with serving(FakeLens()) as target, AsyncClient(target) as client:
        assert tuple(await collect(client)) == ANSWER


async def test_the_request_says_what_was_asked() -> None:
    fake = FakeLens()
    async with serving(fake) as target, AsyncClient(target) as client:
        await collect(
            client,
            regions=[Box(0.0, 0.25, 0.5, 1.0), Point(0.5, 0.25)],
            catalog="shoes",
            max_objects=3,
            max_products=4,
            min_similarity=0.25,
            lane=Lane.BATCH,
            one_per_group=False,
        )
        await collect(client)
    request, plain = fake.requests
    assert request.photo == PHOTO
    assert (request.catalog, request.max_objects, request.max_products, request.min_similarity) == ("shoes", 3, 4, 0.25)
    assert request.lane == lens_service_pb2.LANE_BATCH
    assert [region.WhichOneof("shape") for region in request.regions] == ["box", "tap"]
    assert (request.regions[0].box.y_min, request.regions[1].tap.x) == (0.25, 0.5)
    assert request.HasField("one_per_group") and not request.one_per_group
    assert not plain.HasField("one_per_group"), "the server's default"


async def test_find_puts_the_answer_together_in_the_order_of_detected() -> None:
    async with serving(FakeLens()) as target, AsyncClient(target) as client:
        answer = await client.find(PHOTO)
    assert [found.object.object_id for found in answer.objects] == ["o1", "o2"]
    assert answer.objects[0].failure is not None
    assert [ranked.product.id for ranked in answer.objects[1].products] == ["p1", "p2"]
    assert answer.request_id == "req-1"
    assert answer.done is not None
    assert answer.done.timings.total_ms == 28


async def test_further_objects_follow_those_of_the_first_answer() -> None:
    cup = DetectedObject("o3", Box(0.5, 0.5, 0.625, 0.75), "cup", 0.5, ObjectSource.DETECTOR)
    further = (Detected((cup,), 1, further=True), ObjectResults("o3", (ranked("p3", 1),)))
    fake = FakeLens(lambda _: (*ANSWER[:-1], *further, ANSWER[-1]))
    async with serving(fake) as target, AsyncClient(target) as client:
        assert tuple(await collect(client, look_closer=True)) == (*ANSWER[:-1], *further, ANSWER[-1])
        answer = await client.find(PHOTO, look_closer=True)
        await collect(client)
    assert [found.object.object_id for found in answer.objects] == ["o1", "o2", "o3"]
    assert answer.objects[0].failure is not None
    assert [len(found.products) for found in answer.objects] == [0, 2, 1]
    assert [request.look_closer for request in fake.requests] == [True, True, False]


async def test_a_second_round_is_for_photos_only() -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.find_crops([PHOTO], look_closer=True)  # type: ignore[call-arg]
    assert caught.value.violations[0].field == "look_closer"


async def test_what_a_newer_server_says_is_passed_over() -> None:
    fake = FakeLens(lambda _: [ANSWER[0], lens_service_pb2.SearchResponse(), UNKNOWN_LEVEL, ANSWER[-1]])
    async with serving(fake) as target, AsyncClient(target) as client:
        first, results, last = await collect(client)
    assert (first, last) == (ANSWER[0], ANSWER[-1])
    assert isinstance(results, ObjectResults)
    assert results.products[0].level is MatchLevel.UNKNOWN


async def test_an_error_carries_its_details() -> None:
    refusal = status_of(
        grpc.StatusCode.INVALID_ARGUMENT,
        "the box has no area",
        error_details_pb2.ErrorInfo(
            reason="INVALID_REQUEST", domain="sightline", metadata={"limit": "16", "request_id": "r-7"}
        ),
        error_details_pb2.BadRequest(
            field_violations=[{"field": "regions[0].box", "description": "x_min must be below x_max"}]
        ),
    )
    async with serving(FakeLens(lambda _: [refusal])) as target, AsyncClient(target) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await collect(client)
    error = caught.value
    assert (error.code, error.reason, error.request_id) == ("INVALID_ARGUMENT", "INVALID_REQUEST", "r-7")
    assert error.metadata["limit"] == "16"
    assert [(each.field, each.description) for each in error.violations] == [
        ("regions[0].box", "x_min must be below x_max")
    ]
    assert error.one_line() == (
        "regions[0].box: the box has no area; x_min must be below x_max "
        "(INVALID_ARGUMENT, INVALID_REQUEST, request r-7)"
    )


async def test_unavailable_is_tried_again_and_the_servers_delay_is_kept() -> None:
    fake = FakeLens(lambda call: [unavailable(retry_after_s=1.5)] if call < 3 else ANSWER)
    sleeps = Sleeps()
    async with serving(fake) as target, AsyncClient(target, sleep=sleeps) as client:
        assert tuple(await collect(client)) == ANSWER
    assert len(fake.requests) == 3
    assert sleeps.delays == [1.5, 1.5]


@pytest.mark.parametrize(
    "details", [(), (error_details_pb2.ErrorInfo(reason="CANCELLED", domain="sightline"),)], ids=["bare", "explained"]
)
async def test_a_cancellation_before_the_first_event_is_tried_again(details: Sequence[Message]) -> None:
    fake = FakeLens(lambda call: [cancelled(*details)] if call == 1 else ANSWER)
    async with serving(fake) as target, AsyncClient(target, sleep=Sleeps()) as client:
        assert tuple(await collect(client)) == ANSWER
    assert len(fake.requests) == 2


async def test_a_cancellation_before_the_first_event_is_unavailable_to_the_caller() -> None:
    fake = FakeLens(lambda _: [cancelled()])
    async with serving(fake) as target, AsyncClient(target, sleep=Sleeps()) as client:
        with pytest.raises(UnavailableError) as caught:
            await collect(client)
    assert (caught.value.code, len(fake.requests)) == ("CANCELLED", 3)


async def test_a_cancellation_after_the_first_event_is_final() -> None:
    fake = FakeLens(lambda _: [ANSWER[0], cancelled()])
    async with serving(fake) as target, AsyncClient(target, sleep=Sleeps()) as client:
        with pytest.raises(SearchCancelledError):
            await collect(client)
    assert len(fake.requests) == 1


async def test_attempts_are_bounded() -> None:
    fake = FakeLens(lambda _: [unavailable(retry_after_s=0.25)])
    sleeps = Sleeps()
    options = RetryOptions(attempts=2)
    async with serving(fake) as target, AsyncClient(ClientOptions(target, retry=options), sleep=sleeps) as client:
        with pytest.raises(UnavailableError) as caught:
            await collect(client)
    assert len(fake.requests) == 2
    assert caught.value.retry_after_s == 0.25
    assert not isinstance(caught.value, StreamBrokenError)


async def test_after_the_first_event_nothing_is_tried_again() -> None:
    fake = FakeLens(lambda _: [*ANSWER[:3], unavailable(retry_after_s=0.25)])
    async with serving(fake) as target, AsyncClient(target, sleep=Sleeps()) as client:
        with pytest.raises(StreamBrokenError) as caught:
            await collect(client)
    assert len(fake.requests) == 1
    assert caught.value.events == ANSWER[:3]
    assert caught.value.request_id == "req-1"


async def test_overload_is_never_tried_again() -> None:
    refusal = status_of(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full", error_details_pb2.ErrorInfo(reason="OVERLOADED")
    )
    fake = FakeLens(lambda _: [refusal])
    async with serving(fake) as target, AsyncClient(target, sleep=Sleeps()) as client:
        with pytest.raises(OverloadedError):
            await collect(client)
    assert len(fake.requests) == 1


async def test_a_failing_server_stops_the_retries_of_the_whole_client() -> None:
    fake = FakeLens(lambda _: [unavailable()])
    async with serving(fake) as target, AsyncClient(target, sleep=Sleeps()) as client:
        for _ in range(6):
            with pytest.raises(UnavailableError):
                await collect(client)
    # Two calls of three attempts use up half of the bucket; every call after that is made once.
    assert len(fake.requests) == 3 + 2 + 4


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with serving(FakeLens()) as target:
        pass
    async with AsyncClient(target, sleep=Sleeps()) as client:
        with pytest.raises(UnavailableError) as caught:
            await collect(client)
    assert caught.value.code == "UNAVAILABLE"


async def test_the_default_deadline_reaches_the_server() -> None:
    fake = FakeLens()
    async with serving(fake) as target, AsyncClient(ClientOptions(target, timeout_s=7.0)) as client:
        await collect(client)
        await collect(client, timeout_s=3.0)
    first, second = fake.remaining_s
    assert first is not None
    assert second is not None
    assert first == pytest.approx(7.0, abs=1.0)
    assert second == pytest.approx(3.0, abs=1.0)


async def test_the_deadline_raises_with_the_events_so_far() -> None:
    fake = FakeLens(lambda _: [ANSWER[0], Hang()])
    async with serving(fake) as target, AsyncClient(target) as client:
        with pytest.raises(DeadlineExceededError) as caught:
            await collect(client, timeout_s=2.0)
    assert caught.value.events == ANSWER[:1]
    assert caught.value.message == "the answer did not come within the deadline"


async def test_a_delay_that_the_deadline_does_not_allow_is_not_taken() -> None:
    fake = FakeLens(lambda _: [unavailable(retry_after_s=60)])
    sleeps = Sleeps()
    async with serving(fake) as target, AsyncClient(target, sleep=sleeps) as client:
        with pytest.raises(UnavailableError):
            await collect(client, timeout_s=5.0)
    assert sleeps.delays == []


async def test_a_cancelled_caller_ends_the_call_and_leaves_nothing_behind() -> None:
    fake = FakeLens(lambda _: [ANSWER[0], Hang()])
    async with serving(fake) as target, AsyncClient(target) as client:
        caller = asyncio.create_task(collect(client))
        await fake.hanging.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        await fake.cancelled.wait()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in others if "_next" in repr(task) or "drain" in repr(task)]


async def test_a_loop_that_is_left_early_ends_the_call() -> None:
    fake = FakeLens(lambda _: [ANSWER[0], Hang()])
    async with serving(fake) as target, AsyncClient(target) as client:
        async with aclosing(client.search(PHOTO)) as stream:
            assert await anext(stream) == Accepted("req-1")
        await fake.cancelled.wait()


async def test_a_stream_that_ends_without_done_is_broken() -> None:
    async with serving(FakeLens(lambda _: ANSWER[:2])) as target, AsyncClient(target) as client:
        with pytest.raises(StreamBrokenError) as caught:
            await collect(client)
    assert caught.value.events == ANSWER[:2]


async def test_a_photo_over_the_limit_is_not_sent() -> None:
    fake = FakeLens()
    async with serving(fake) as target, AsyncClient(ClientOptions(target, max_photo_bytes=4)) as client:
        with pytest.raises(PhotoTooLargeError, match="10 bytes, the limit is 4") as caught:
            await collect(client)
    assert fake.requests == []
    assert caught.value.violations[0].field == "photo"


async def test_a_photo_over_the_servers_message_limit_is_told_as_such() -> None:
    async with serving(FakeLens(), max_receive_message_length=1000) as target, AsyncClient(target) as client:
        with pytest.raises(PhotoTooLargeError):
            async for _ in client.search(bytes(2000)):
                pass


async def test_a_large_photo_passes_grpcs_own_default_limit() -> None:
    fake = FakeLens()
    async with (
        serving(fake, max_receive_message_length=21 * 1024 * 1024) as target,
        AsyncClient(target) as client,
    ):
        await client.find(bytes(6 * 1024 * 1024))
    assert len(fake.requests[0].photo) == 6 * 1024 * 1024


async def test_the_blocking_client_gives_the_same_events_and_errors() -> None:
    fake = FakeLens(lambda call: ANSWER if call < 3 else [*ANSWER[:2], unavailable()])

    def use(target: str) -> tuple[list[Event], StreamBrokenError]:
        with Client(target) as client:
            events = list(client.search(PHOTO))
            assert client.find(PHOTO).request_id == "req-1"
            with pytest.raises(StreamBrokenError) as caught:
                list(client.search(PHOTO))
        return events, caught.value

    async with serving(fake) as target:
        events, error = await asyncio.to_thread(use, target)
    assert tuple(events) == ANSWER
    assert error.events == ANSWER[:2]


async def test_the_blocking_client_ends_a_call_that_is_left_early() -> None:
    fake = FakeLens(lambda _: [ANSWER[0], Hang()])

    def use(target: str) -> Event:
        with Client(target) as client:
            stream = client.search(PHOTO)
            first = next(stream)
            stream.close()
        return first

    async with serving(fake) as target:
        assert await asyncio.to_thread(use, target) == ANSWER[0]
        await fake.cancelled.wait()
