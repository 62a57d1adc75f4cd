"""One revision, restricted to what a filter lets through; and the restricted ones that are remembered.

Rule: a restricted snapshot reads nothing that the whole one does not hold, and lives no longer than it.
"""

import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.filters import AppliedFilter, Filter
from sightline_server.domain.items import Neighbour, Product
from sightline_server.domain.probes import NO_PROBES
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import CodedProducts, Snapshot

NearestFunction = Callable[[NDArray[np.float32], int, Sequence[bool] | None], Awaitable[list[list[Neighbour]]]]
WithGtin = Callable[[int], Awaitable[CodedProducts | None]]
REMEMBERED = 64
REMEMBERED_BYTES = 128 * 1024 * 1024


class FilteredSnapshot:
    """`ports.Snapshot`: `whole`, of which `nearest` searches only what matches, and `with_gtin` finds no more."""

    def __init__(
        self,
        whole: Snapshot,
        applied_filter: AppliedFilter | None,
        nearest: NearestFunction,
        with_gtin: WithGtin | None = None,
    ) -> None:
        self.name = whole.name
        self.revision = whole.revision
        self.built_at = whole.built_at
        self.embedder = whole.embedder
        self.dimension = whole.dimension
        self.product_count = whole.product_count
        self.capabilities = whole.capabilities
        self.self_check_recall = whole.self_check_recall
        self.probes = NO_PROBES
        self.applied_filter = applied_filter
        self.local_features = whole.local_features
        self.weights = whole.weights
        self.verdict = whole.verdict
        self._whole = whole
        self.has_gtins = with_gtin is not None and whole.has_gtins
        self._nearest = nearest
        self._with_gtin = with_gtin

    async def select(self, wanted: Filter) -> Snapshot:
        """See `ports.Snapshot`. Raises `SightlineError` of kind INTERNAL for a second filter."""
        if wanted:
            raise SightlineError(ErrorKind.INTERNAL, "a filtered snapshot is filtered again")
        return self

    async def nearest(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
    ) -> list[list[Neighbour]]:
        """See `ports.Snapshot`."""
        return await self._nearest(queries, k, by_group)

    async def with_gtin(self, gtin: int) -> CodedProducts | None:
        """See `ports.Snapshot`."""
        return None if self._with_gtin is None else await self._with_gtin(gtin)

    def products(self, rows: Sequence[int]) -> list[Product]:
        """See `ports.Snapshot`."""
        return self._whole.products(rows)

    def image_links(self, images: Sequence[int]) -> list[str]:
        """See `ports.Snapshot`."""
        return self._whole.image_links(images)


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """A filtered snapshot and the bytes that it and its filter hold."""

    snapshot: Snapshot
    size: int


class FilteredSnapshots:
    """The latest filtered snapshots of one revision, as many as fit. For the event loop only."""

    def __init__(self, most: int = REMEMBERED, most_bytes: int = REMEMBERED_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._held: OrderedDict[Filter, Remembered] = OrderedDict()
        self._bytes = 0

    def get(self, wanted: Filter) -> Snapshot | None:
        """The snapshot of `wanted`, which is now the latest; None where it is not remembered."""
        held = self._held.get(wanted)
        if held is None:
            return None
        self._held.move_to_end(wanted)
        return held.snapshot

    def add(self, wanted: Filter, snapshot: Snapshot, size: int) -> Snapshot:
        """Remembers `snapshot`, whose search holds `size` bytes, and forgets the oldest ones beyond the limits.

        Returns the one that is remembered: of two that were made at the same time, the first.
        """
        if (before := self.get(wanted)) is not None:
            return before
        size += bytes_of(wanted, snapshot)
        self._held[wanted] = Remembered(snapshot, size)
        self._bytes += size
        while len(self._held) > self._most or (self._bytes > self._most_bytes and len(self._held) > 1):
            _, forgotten = self._held.popitem(last=False)
            self._bytes -= forgotten.size
        return snapshot

    def clear(self) -> None:
        """Forgets every snapshot."""
        self._held.clear()
        self._bytes = 0


def bytes_of(wanted: Filter, snapshot: Snapshot) -> int:
    """Bytes of the texts of a filter and of its text form: of a thousand ids more than its search may hold."""
    form = "" if snapshot.applied_filter is None else snapshot.applied_filter.text
    return sum(map(sys.getsizeof, texts_of(wanted))) + sys.getsizeof(form)


def texts_of(wanted: Filter) -> Iterator[str]:
    """Every text of a filter."""
    yield from (*wanted.brands, *wanted.categories, *wanted.availabilities)
    yield from (*wanted.product_ids, *wanted.excluded_product_ids)
    yield from (*wanted.item_group_ids, *wanted.excluded_item_group_ids)
    for attribute in wanted.attributes:
        yield attribute.name
        yield from attribute.values
    yield from (prices.currency for prices in wanted.prices)
