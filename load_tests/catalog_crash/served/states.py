"""The states that products of a served catalog may have, by what was sent and acknowledged.

Rule: an acknowledged write is there. A refused one is not. One without an answer is there or not, and one that was sent
as a single request (an update, a delete) is there as a whole or not at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from load_tests.catalog_churn.shop import Seeds


class Kind(Enum):
    """A way to write a product."""

    READY = "ready"
    """With a ready embedding."""
    IMAGE = "image"
    """With an image that the server embeds, and a ready embedding."""
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class State:
    """A product as it was written: its vectors follow from `kind` and `value`, and `brand` from its last update."""

    kind: Kind
    value: int
    brand: str = ""

    @property
    def title(self) -> str:
        """The title that shows `kind` and `value`."""
        return f"{self.kind.value} {self.value}"

    def vectors(self, seeds: Seeds) -> NDArray[np.float32]:
        """The vectors float32 [V,D] that the product has."""
        copy = seeds.copy(self.value)
        return np.stack([seeds.of(self.value).vector, copy] if self.kind is Kind.IMAGE else [copy])


def shown(title: str, brand: str) -> State:
    """The state of a product that is read. Raises `ValueError` for a title that no write has."""
    kind, _, value = title.partition(" ")
    return State(Kind(kind), int(value), brand)


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """A write on its way: the states of its products after it; `request_ids` has one each, or a common one."""

    kind: Kind
    states: Mapping[str, State | None]
    request_ids: Mapping[str, str]

    @property
    def whole(self) -> bool:
        """Returns whether all products are one request."""
        return self.kind in (Kind.UPDATE, Kind.DELETE)


@dataclass
class Expected:
    """The acknowledged state of each product, and the writes without an answer."""

    known: dict[str, State] = field(default_factory=dict)
    open: dict[Sent, set[str]] = field(default_factory=dict)
    """The products of a write that have no answer yet."""

    def sent(self, write: Sent) -> None:
        """A write is on its way."""
        self.open[write] = set(write.states)

    def acknowledged(self, write: Sent, product_id: str) -> None:
        """A product of a write was acknowledged."""
        state = write.states[product_id]
        self.known.pop(product_id, None)
        if state is not None:
            self.known[product_id] = state
        self.refused(write, product_id)

    def refused(self, write: Sent, product_id: str) -> None:
        """A product of a write was refused, so it is as it was before."""
        self.open[write].discard(product_id)
        if not self.open[write]:
            del self.open[write]

    def faults(self, found: Mapping[str, State]) -> list[str]:
        """The products of `found` that are not as they may be. They are known as they are from now on."""
        faults = [text for write, ids in self.open.items() if (text := torn(write, ids, self.known, found))]
        for product_id in {*self.known, *found, *(each for ids in self.open.values() for each in ids)}:
            allowed = [self.known.get(product_id)]
            allowed += [write.states[product_id] for write, ids in self.open.items() if product_id in ids]
            if found.get(product_id) not in allowed:
                faults.append(f"{product_id}: {found.get(product_id)}, allowed {allowed}")
        self.known = dict(found)
        return faults


def torn(write: Sent, ids: set[str], known: Mapping[str, State], found: Mapping[str, State]) -> str:
    """The fault of a single request without an answer of which only a part is there; empty if there is none."""
    changing = [each for each in ids if write.states[each] != known.get(each)]
    done = [each for each in changing if found.get(each) == write.states[each]]
    if not write.whole or len(done) in (0, len(changing)):
        return ""
    return f"{write.kind.value} of {sorted(ids)}: only {sorted(done)} are there"
