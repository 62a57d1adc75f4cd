"""The objects of a photo -> the portions that are embedded and searched one after the other. Pure.

Rule: dividing costs nothing. Where a batch costs what its items cost, the best object goes first and alone, so that its
products are sent while the others are still being embedded; where a batch shares its cost, all objects stay together.
"""

from collections.abc import Sequence
from typing import TypeVar

from sightline_server.domain.models import BatchCost

T = TypeVar("T")


def portions(objects: Sequence[T], cost: BatchCost) -> list[Sequence[T]]:
    """The portions of `objects`, in order, none of them empty."""
    if cost is BatchCost.SHARED or len(objects) < 2:
        return [objects] if objects else []
    return [objects[:1], objects[1:]]
