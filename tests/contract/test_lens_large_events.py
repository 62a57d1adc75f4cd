"""An object whose products do not fit into one message fails alone, for a client with gRPC's own limit."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.v1 import lens_service_pb2
from sightline_server.domain.items import Neighbour, Product
from sightline_server.rpc.lens.event_size import MAX_EVENT_BYTES
from tests.support.asking import asked, events_of
from tests.support.lens import FakeSnapshot, serving

TEXT_BYTES = 64 * 1024
"""The texts of the largest product that a build takes."""
LARGE = 1000
"""First row of the products with long texts."""


class LargeSnapshot(FakeSnapshot):
    """Finds products with long texts for the first object, and small ones for the others."""

    async def nearest(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
    ) -> list[list[Neighbour]]:
        small = await super().nearest(queries, k, by_group)
        large = [Neighbour(LARGE + n, n, 0.9 - n / 1000, f"l{n}", "Chairs", "", LARGE + n) for n in range(k)]
        return [large, *small[1:]]

    def products(self, rows: Sequence[int]) -> list[Product]:
        texts = {"description": "é" * (TEXT_BYTES // 2)}
        small = super().products
        return [Product(f"l{n}", attributes=texts) if n >= LARGE else small([n])[0] for n in rows]


async def test_results_over_the_clients_limit_are_the_failure_of_their_object() -> None:
    async with serving(index=LargeSnapshot()) as served:
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
    async with serving(index=LargeSnapshot()) as served:
        events = await events_of(served.search(asked(max_products=products)))
    assert len(events[2].results.products) == products
    assert events[2].ByteSize() <= MAX_EVENT_BYTES


async def test_results_that_just_fit_are_taken_by_a_client_with_the_default_limit() -> None:
    class FullSnapshot(FakeSnapshot):
        """Finds one product that makes an event of exactly the limit."""

        size = MAX_EVENT_BYTES

        async def nearest(
            self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
        ) -> list[list[Neighbour]]:
            return [[Neighbour(0, 0, 0.9, "p", "", "", 0)]] * len(queries)

        def products(self, rows: Sequence[int]) -> list[Product]:
            return [Product("p", title="x" * self.size) for _ in rows]

    snapshot = FullSnapshot()
    async with serving(index=snapshot) as served:
        first = await events_of(served.search(asked()))
        snapshot.size -= 200
        [sent] = [
            event for event in (await events_of(served.search(asked(max_objects=1)))) if event.HasField("results")
        ]
        snapshot.size += MAX_EVENT_BYTES - sent.ByteSize()
        exact = await events_of(served.search(asked(max_objects=1)))
        snapshot.size += 1
        over = await events_of(served.search(asked(max_objects=1)))
    assert [event.WhichOneof("event") for event in first].count("failure") == 2
    assert [event.ByteSize() for event in exact if event.HasField("results")] == [MAX_EVENT_BYTES]
    assert any(event.HasField("failure") for event in over)
