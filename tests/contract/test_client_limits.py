"""Size limits of both ends: each is its own error, though gRPC answers all of them as an overloaded server does."""

import random
import re
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc import error_details_pb2

from sightline.v1 import lens_service_pb2
from sightline_client import (
    AnswerTooLargeError,
    AsyncClient,
    Box,
    ClientOptions,
    Event,
    InternalError,
    InvalidRequestError,
    ObjectResults,
    OverloadedError,
    PhotoTooLargeError,
    convert,
    limits,
)
from tests.support.fake_lens import ANSWER, FakeLens, ranked, serving, status_of

PHOTO = b"\xff\xd8 a photo"
GZIP = {"default_compression_algorithm": 2}
LARGE = ObjectResults("o1", tuple(ranked(f"p{number}", number) for number in range(1, 200)))
"""About 43 kB, and 3.6 kB when compressed."""


def random_results(size: int) -> ObjectResults:
    """Results that no compression makes small."""
    return ObjectResults("o1", (ranked(random.Random(1).randbytes(size).hex(), 1),))


async def refused(target: str, **options: int) -> AnswerTooLargeError:
    async with AsyncClient(ClientOptions(target, **options)) as client:  # type: ignore[arg-type]
        with pytest.raises(AnswerTooLargeError) as caught:
            await client.find(PHOTO)
    return caught.value


@pytest.mark.parametrize("compression", [{}, GZIP], ids=["plain", "gzip"])
@pytest.mark.parametrize("limit", [2000, 10_000], ids=["below-compressed", "above-compressed"])
async def test_an_answer_over_the_clients_limit_names_the_limit_and_keeps_the_events(
    compression: dict[str, int], limit: int
) -> None:
    fake = FakeLens(lambda _: [ANSWER[0], ANSWER[1], LARGE, ANSWER[-1]])
    async with serving(fake, **compression) as target:
        error = await refused(target, max_answer_bytes=limit)
    assert f"the client's limit is {limit}" in error.message
    assert "max_answer_bytes" in error.message
    assert "max_products" in error.message
    assert (error.code, error.events, error.request_id) == ("RESOURCE_EXHAUSTED", ANSWER[:2], "req-1")
    assert not isinstance(error, InvalidRequestError)
    assert len(fake.requests) == 1


@pytest.mark.parametrize("compression", [{}, GZIP], ids=["plain", "gzip"])
async def test_a_first_event_over_the_limit_is_no_large_photo(compression: dict[str, int]) -> None:
    async with serving(FakeLens(lambda _: [random_results(9000)]), **compression) as target:
        assert (await refused(target, max_answer_bytes=100)).events == ()


@pytest.mark.parametrize(
    "surplus", [0, 1, limits.SLACK, limits.SLACK + 1], ids=["at", "over", "at-grpcs", "over-grpcs"]
)
async def test_the_limit_is_exact(surplus: int) -> None:
    events: list[Event] = [ANSWER[0], ANSWER[1], LARGE, ANSWER[-1]]
    size = convert.event_to_pb(LARGE).ByteSize()
    async with serving(FakeLens(lambda _: events)) as target:
        if surplus:
            assert f"has {size} bytes" in (await refused(target, max_answer_bytes=size - surplus)).message
        else:
            async with AsyncClient(ClientOptions(target, max_answer_bytes=size)) as client:
                await client.find(PHOTO)


async def test_the_connection_serves_the_next_call() -> None:
    fake = FakeLens(lambda call: [ANSWER[0], LARGE] if call == 1 else ANSWER)
    async with serving(fake) as target, AsyncClient(ClientOptions(target, max_answer_bytes=5000)) as client:
        with pytest.raises(AnswerTooLargeError):
            await client.find(PHOTO)
        assert (await client.find(PHOTO)).request_id == "req-1"


@pytest.mark.parametrize(
    "text",
    [
        "CLIENT: Received message larger than max (5 vs. 2)",
        "Stream removed (CLIENT: Received message larger than max (43718 vs. 16777216))",
        "Decompressed message larger than max",
        "SERVER: Received message larger than max (5 vs. 2)",
    ],
)
async def test_a_server_that_says_so_itself_is_overloaded(text: str) -> None:
    """Its text is as gRPC's, but the status is its own: it has details."""
    for details in ([], [error_details_pb2.ErrorInfo(reason="OVERLOADED")]):
        refusal = status_of(grpc.StatusCode.RESOURCE_EXHAUSTED, text, *details)
        async with (
            serving(FakeLens(lambda _, refusal=refusal: [refusal])) as target,  # type: ignore[misc]
            AsyncClient(target) as client,
        ):
            with pytest.raises(OverloadedError):
                await client.find(PHOTO)


async def test_a_photo_over_the_servers_message_limit_is_too_large() -> None:
    async with serving(FakeLens(), max_receive_message_length=1000) as target, AsyncClient(target) as client:
        with pytest.raises(PhotoTooLargeError, match=r"the server's message limit.*vs\. 1000"):
            await client.find(bytes(2000))


async def test_an_answer_over_the_servers_own_limit_is_told_as_such() -> None:
    async with serving(FakeLens(), max_send_message_length=100) as target, AsyncClient(target) as client:
        with pytest.raises(AnswerTooLargeError, match="the server's own message limit") as caught:
            await client.find(PHOTO)
    assert caught.value.events == ANSWER[:2]


class LongTrailer(FakeLens):
    """Ends its calls with more metadata than gRPC takes."""

    async def Search(  # noqa: N802
        self,
        request: lens_service_pb2.SearchRequest,
        context: grpc.aio.ServicerContext[lens_service_pb2.SearchRequest, lens_service_pb2.SearchResponse],
    ) -> AsyncIterator[lens_service_pb2.SearchResponse]:
        context.set_trailing_metadata([("x-padding", "b" * 100_000)])
        async for message in super().Search(request, context):
            yield message


async def test_metadata_over_grpcs_limit_is_not_overload() -> None:
    async with serving(LongTrailer()) as target, AsyncClient(target) as client:
        with pytest.raises(InternalError, match="metadata"):
            await client.find(PHOTO)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [({"catalog": "c" * 2_000_000}, "catalog"), ({"regions": [Box.whole()] * 100_000}, "regions")],
    ids=["catalog", "regions"],
)
async def test_a_request_that_is_large_beyond_its_photo_is_not_sent(parameters: dict[str, object], field: str) -> None:
    fake = FakeLens()
    async with serving(fake) as target, AsyncClient(target) as client:
        with pytest.raises(InvalidRequestError, match=re.escape(f"{field} makes a request of")) as caught:
            await client.find(PHOTO, **parameters)  # type: ignore[arg-type]
    assert not isinstance(caught.value, PhotoTooLargeError)
    assert caught.value.violations[0].field == field
    assert fake.requests == []
