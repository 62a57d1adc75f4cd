"""The clients' searches of embeddings: what is sent, what comes back, grants, and whatever a caller passes."""

import array
import asyncio
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.v1 import lens_service_pb2 as pb
from sightline_client import (
    AsyncClient,
    Client,
    ClientOptions,
    Done,
    FailedPreconditionError,
    Filter,
    InvalidRequestError,
    Lane,
    ObjectSource,
    PermissionDeniedError,
    RetryOptions,
    grants,
)
from sightline_client.vectors import vector_bytes, vectors_bytes
from tests.support.asking import PHOTO
from tests.support.embeddings import EMBEDDER, VECTORS
from tests.support.fake_lens import ANSWER, FakeLens, unavailable
from tests.support.fake_lens import serving as serving_script
from tests.support.grants import AUDIENCE, ISSUER, ConsentService
from tests.support.lens import serving

NUMBERS = [0.6, 0.8, 0.0, 0.0]


async def test_the_request_says_what_was_asked() -> None:
    fake = FakeLens()
    async with serving_script(fake) as target, AsyncClient(target) as client:
        events = [
            event
            async for event in client.search_embeddings(
                [NUMBERS, np.array(NUMBERS, np.float32), VECTORS[0]],
                embedder=EMBEDDER,
                catalog="shoes",
                max_products=4,
                min_similarity=0.25,
                lane=Lane.BATCH,
                one_per_group=True,
                filter=Filter(brands=["Nordhem"]),
                grant="a.b.c",
            )
        ]
        assert (await client.find_embeddings([NUMBERS], embedder=EMBEDDER)).done == ANSWER[-1]
    assert tuple(events) == ANSWER
    [request, plain] = fake.embedded
    packed = struct.pack("<4f", *NUMBERS)
    assert (request.embedder, list(request.vectors)) == (EMBEDDER, [packed, packed, VECTORS[0]])
    assert (request.catalog, request.max_products, request.min_similarity) == ("shoes", 4, 0.25)
    assert (request.lane, request.one_per_group, request.grant) == (pb.LANE_BATCH, True, "a.b.c")
    assert list(request.filter.brands) == ["Nordhem"]
    assert not plain.HasField("one_per_group") and not plain.HasField("filter")


async def test_unavailable_is_tried_again() -> None:
    fake = FakeLens(lambda call: [unavailable()] if call == 1 else ANSWER)
    async with serving_script(fake) as target:
        options = ClientOptions(target, retry=RetryOptions(first_delay_s=0.0))
        async with AsyncClient(options) as client:
            assert (await client.find_embeddings(iter([NUMBERS]), embedder=EMBEDDER)).done == ANSWER[-1]
    assert len(fake.embedded) == 2 and fake.embedded[0] == fake.embedded[1]


async def test_a_server_answers_both_clients_and_names_the_embedder_that_it_wants() -> None:
    async with serving() as served:
        async with AsyncClient(served.address) as client:
            answer = await client.find_embeddings(VECTORS, embedder=EMBEDDER, max_products=2)
            assert [each.object.source for each in answer.objects] == [ObjectSource.EMBEDDING] * 2
            assert [[each.product.id for each in found.products] for found in answer.objects] == [["p0", "p1"]] * 2
            assert answer.done is not None and answer.done.detector == ""
            with pytest.raises(FailedPreconditionError) as caught:
                await client.find_embeddings(VECTORS, embedder="another@1")
            assert (caught.value.reason, caught.value.metadata["embedder"]) == ("EMBEDDER_MISMATCH", EMBEDDER)
            known = answer.done.embedder
            again = await client.find_embeddings([NUMBERS], embedder=known)
            assert isinstance(again.done, Done)

        def find() -> Any:
            with Client(served.address) as client:
                first = client.find_embeddings(VECTORS, embedder=EMBEDDER)
                events = list(client.search_embeddings(VECTORS, embedder=EMBEDDER))
                return first, events

        first, events = await asyncio.to_thread(find)
        assert len(first.objects) == 2 and isinstance(events[-1], Done)


async def test_a_signed_grant_allows_one_search_of_these_embeddings(tmp_path: Path) -> None:
    service = ConsentService(tmp_path)
    signer = grants.GrantSigner(grants.new_key(), ISSUER, AUDIENCE)
    service.path.write_text(grants.public_keys(signer.key))
    async with serving(consent=service.settings()) as served, AsyncClient(served.address) as client:
        grant = signer.grant_embeddings([NUMBERS, VECTORS[0]], catalog="default", act="tap", lifetime_s=30)
        with pytest.raises(PermissionDeniedError) as other:
            await client.find_embeddings([VECTORS[0], NUMBERS], embedder=EMBEDDER, grant=grant)
        assert other.value.reason == "GRANT_OTHER_PHOTO"
        assert (await client.find_embeddings([NUMBERS, VECTORS[0]], embedder=EMBEDDER, grant=grant)).done
        with pytest.raises(PermissionDeniedError) as used:
            await client.find_embeddings([NUMBERS, VECTORS[0]], embedder=EMBEDDER, grant=grant)
        assert used.value.reason == "GRANT_REPLAYED"
        with pytest.raises(PermissionDeniedError) as of_photo:
            await client.find_embeddings([NUMBERS], embedder=EMBEDDER, grant=signer.grant(PHOTO))
        assert of_photo.value.reason == "GRANT_OTHER_PHOTO"


def test_numbers_of_every_form_are_the_same_bytes() -> None:
    expected = struct.pack("<4f", *NUMBERS)
    forms: list[Any] = [
        *(NUMBERS, tuple(NUMBERS), iter(NUMBERS), np.array(NUMBERS), np.array(NUMBERS, np.float32)),
        *(array.array("f", NUMBERS), memoryview(array.array("d", NUMBERS)), np.array(NUMBERS, np.float32).data),
        *(expected, bytearray(expected), memoryview(expected)),
    ]
    assert vectors_bytes(forms) == [expected] * len(forms)
    assert vectors_bytes(np.array([NUMBERS] * 2)) == [expected] * 2


BAD: list[tuple[Any, str]] = [
    (b"bytes", "embeddings"),
    ("text", "embeddings"),
    (None, "embeddings"),
    (7, "embeddings"),
    ({"a": 1}, "embeddings"),
    ([0.6, 0.8], "embeddings[0]"),
    ([NUMBERS, "text"], "embeddings[1]"),
    ([[float("nan")]], "embeddings[0]"),
    ([[1e39]], "embeddings[0]"),
    ([["0.6"]], "embeddings[0]"),
    ([[[0.6]]], "embeddings[0]"),
    ([{0.6: 1}], "embeddings[0]"),
]


@pytest.mark.parametrize(("embeddings", "field"), BAD)
async def test_what_is_no_embedding_is_named_and_not_sent(embeddings: Any, field: str) -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.find_embeddings(embeddings, embedder=EMBEDDER)
    assert [each.field for each in caught.value.violations] == [field]
    assert "0.6" not in str(caught.value) and "1e" not in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"embedder": 7}, "embedder"),
        ({"regions": []}, "regions"),
        ({"max_objects": 1}, "max_objects"),
        ({"max_products": -1}, "max_products"),
        ({"unknown": 1}, "unknown"),
        ({"grant": ""}, "grant"),
        ({"filter": "red"}, "filter"),
        ({"embeddings": [bytes(2 << 20)]}, "embeddings"),
    ],
)
async def test_a_parameter_that_cannot_be_used_is_named(parameters: dict[str, Any], field: str) -> None:
    asked: dict[str, Any] = {"embeddings": [NUMBERS], "embedder": EMBEDDER, **parameters}
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.find_embeddings(asked.pop("embeddings"), **asked)
    assert [each.field for each in caught.value.violations] == [field]


@given(st.one_of(st.binary(), st.text(), st.lists(st.floats() | st.integers() | st.text()), st.none(), st.booleans()))
@settings(deadline=None)
def test_whatever_is_passed_becomes_bytes_or_our_error(embedding: Any) -> None:
    raised = None
    try:
        assert isinstance(vector_bytes("embeddings[0]", embedding), bytes)
    except InvalidRequestError as error:
        raised = error
    assert raised is None or raised.violations[0].field == "embeddings[0]"
