"""The objects of a photo -> the portions that are embedded and searched one after the other. Pure.

Rule: dividing costs nothing. Where a batch costs what its items cost, and the embedder has a free slot for each
portion, the best object goes first and alone, so that its products are sent while the others are still being embedded.
Where a batch shares its cost, or other photos are being embedded, all objects stay together and fill the batch.
"""

from collections.abc import Sequence
from typing import TypeVar

from sightline_server.domain.models import BatchCost

T = TypeVar("T")


def portions(objects: Sequence[T], cost: BatchCost, free_slots: int) -> list[Sequence[T]]:
    """The portions of `objects`, in order, none of them empty; `free_slots` batches would be embedded at once."""
    divided = [objects[:1], objects[1:]]
    if cost is BatchCost.SHARED or len(objects) < len(divided) or free_slots < len(divided):
        return [objects] if objects else []
    return divided
