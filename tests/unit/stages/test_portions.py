"""The objects of a photo in portions, by the cost of the embedder's batches."""

import pytest

from sightline_server.domain.models import BatchCost
from sightline_server.stages.portions import portions


@pytest.mark.parametrize(
    ("count", "cost", "free_slots", "sizes"),
    [
        (0, BatchCost.LINEAR, 2, []),
        (1, BatchCost.LINEAR, 2, [1]),
        (2, BatchCost.LINEAR, 2, [1, 1]),
        (16, BatchCost.LINEAR, 2, [1, 15]),
        (16, BatchCost.LINEAR, 5, [1, 15]),
        # One of them would wait for the other.
        (16, BatchCost.LINEAR, 1, [16]),
        (16, BatchCost.LINEAR, 0, [16]),
        (0, BatchCost.LINEAR, 0, []),
        (0, BatchCost.SHARED, 2, []),
        (1, BatchCost.SHARED, 2, [1]),
        (16, BatchCost.SHARED, 2, [16]),
    ],
)
def test_the_best_object_is_alone_where_that_costs_nothing(
    count: int, cost: BatchCost, free_slots: int, sizes: list[int]
) -> None:
    objects = tuple(range(count))
    divided = portions(objects, cost, free_slots)
    assert [len(portion) for portion in divided] == sizes
    assert [item for portion in divided for item in portion] == list(objects)
