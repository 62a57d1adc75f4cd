"""An object whose products do not fit into one message fails alone, for a client with gRPC's own limit."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.v1 import lens_service_pb2
from sightline_server.domain.items import Neighbour, Product
from sightline_server.rpc.event_size import MAX_EVENT_BYTES
from tests.support.asking import asked, events_of
from tests.support.lens import FakeIndex, serving

TEXT_BYTES = 64 * 1024
"""The texts of the largest product that a build takes."""


class LargeIndex(FakeIndex):
    """Finds products with long texts for the first object, and small ones for the others."""

    async def search(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
    ) -> list[list[Neighbour]]:
        small = await super().search(queries, k, by_group)
        texts = {"description": "é" * (TEXT_BYTES // 2)}
        large = [Neighbour(Product(f"l{n}", attributes=texts), 0.9 - n / 1000, "l.jpg") for n in range(k)]
        return [large, *small[1:]]


async def test_results_over_the_clients_limit_are_the_failure_of_their_object() -> None:
    async with serving(index=LargeIndex()) as served:
        events = await events_of(served.search(asked(max_products=100)))
        counted = [served.value("objects_total", outcome=name) for name in ("searched", "too_large")]
    assert [event.WhichOneof("event") for event in events] == ["accepted", "detected", "failure", "results", "done"]
    failure = events[2].failure
    assert failure.reason == lens_service_pb2.FAILURE_REASON_TOO_LARGE
    assert failure.object_id == events[1].detected.objects[0].object_id
    assert "max_products" in failure.message
    assert counted == [2.0, 1.0]


@pytest.mark.parametrize("products", [10, 60])
async def test_results_within_the_clients_limit_are_sent(products: int) -> None:
    async with serving(index=LargeIndex()) as served:
        events = await events_of(served.search(asked(max_products=products)))
    assert len(events[2].results.products) == products
    assert events[2].ByteSize() <= MAX_EVENT_BYTES


async def test_results_that_just_fit_are_taken_by_a_client_with_the_default_limit() -> None:
    class FullIndex(FakeIndex):
        """Finds one product that makes an event of exactly the limit."""

        size = MAX_EVENT_BYTES

        async def search(
            self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
        ) -> list[list[Neighbour]]:
            return [[Neighbour(Product("p", title="x" * self.size), 0.9, "p.jpg")]] * len(queries)

    index = FullIndex()
    async with serving(index=index) as served:
        first = await events_of(served.search(asked()))
        index.size -= 200
        [sent] = [
            event for event in (await events_of(served.search(asked(max_objects=1)))) if event.HasField("results")
        ]
        index.size += MAX_EVENT_BYTES - sent.ByteSize()
        exact = await events_of(served.search(asked(max_objects=1)))
        index.size += 1
        over = await events_of(served.search(asked(max_objects=1)))
    assert [event.WhichOneof("event") for event in first].count("failure") == 2
    assert [event.ByteSize() for event in exact if event.HasField("results")] == [MAX_EVENT_BYTES]
    assert any(event.HasField("failure") for event in over)
