"""A way of fitting an adapter, what it brings, and whether that is enough to keep it.

Rule: the decision and its grounds are one, so that what is printed is why.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from sightline_server.ingest.adapting.fitting import Method
from sightline_server.ingest.adapting.gain import Held
from sightline_server.ingest.adapting.paired import Paired

LEAST_SEEN = 0.5
"""Share of held-out photos whose product the fit has to have seen, so that they show what a head brings."""
MOST_UNCOVERED = 0.1
"""Share of the catalog's products that may have no photo before a fall that may be chance counts as their loss."""
SCALES = (0.1, 2.0)


class Grounds(StrEnum):
    """The grounds on which a candidate is kept or not."""

    GAIN = "gain"
    """The gain is more than chance explains, and products that no photo shows lose nothing."""
    ASSUMED = "assumed"
    """The gain on products that it has seen cannot be measured; centring has a real one on others, which lose
    nothing."""
    EVEN = "even"
    """Without labels: fewer photos share their first product."""
    NO_GAIN = "no-gain"
    """Chance explains it, or hit@1 falls."""
    LOSS = "loss"
    """Products that no photo shows lose."""

    @property
    def is_kept(self) -> bool:
        """True for those on which a candidate is kept."""
        return self in (Grounds.GAIN, Grounds.ASSUMED, Grounds.EVEN)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A way of fitting, and what it brings: on held-out photos, and on products whose photos were all held out.

    `new` is that of `held` where no product has two photos. `centring_gains` says whether centring, which a head begins
    with, has a real gain there. `uncovered` is the share of the catalog's products that no photo shows.
    """

    method: Method
    held: Held
    new: Paired | None = None
    centring_gains: bool = False
    uncovered: float = 0.0

    @property
    def is_shown(self) -> bool:
        """True if held-out photos show what it brings to products that it has seen."""
        return self.held.seen >= LEAST_SEEN

    @property
    def loses_new(self) -> bool:
        """True if products that no photo shows lose; where many products are such, any fall is a loss."""
        if self.new is None:
            return False
        return self.new.is_loss or (self.uncovered > MOST_UNCOVERED and self.new.is_fall)

    @property
    def grounds(self) -> Grounds:
        """The grounds on which it is kept or not."""
        if self.held.paired is None:
            return Grounds.EVEN if self.held.is_more_even else Grounds.NO_GAIN
        if self.loses_new:
            return Grounds.LOSS
        if self.held.paired.is_gain:
            return Grounds.GAIN
        if self.method is Method.HEAD and not self.is_shown and self.centring_gains:
            return Grounds.ASSUMED
        return Grounds.NO_GAIN

    @property
    def is_kept(self) -> bool:
        """True if its gain is real, or assumed, and new products lose nothing."""
        return self.grounds.is_kept

    def facts(self) -> dict[str, Any]:
        """The measurements, plain JSON."""
        grounds, paired = self.grounds, self.held.paired
        found: dict[str, Any] = {
            "method": self.method.value,
            "kept": grounds.is_kept,
            "grounds": grounds.value,
            "assumed": grounds is Grounds.ASSUMED,
        }
        if paired is not None:
            found |= {"hit@1": paired.rates(), "measured": len(paired), "repeats": len(paired.after)}
            found |= {"ndcg@10": paired.values(), "chance": round(paired.chance, 4), "seen": round(self.held.seen, 4)}
            found["uncovered"] = round(self.uncovered, 4)
        if self.new is not None:
            found |= {"new_products_hit@1": self.new.rates(), "new_products_ndcg@10": self.new.values()}
        befores, afters = zip(*self.held.spreads, strict=True)
        found["first_products"] = {
            "before": [each.products for each in befores],
            "after": [each.products for each in afters],
        }
        found["same_first"] = {
            "before": [round(each.same, 4) for each in befores],
            "after": [round(each.same, 4) for each in afters],
        }
        return found


def scale_of(before: float, after: float) -> float:
    """The scale by which the median first similarity `after` becomes `before`, and 1 stays 1."""
    least, most = SCALES
    return float(np.clip((1.0 - before) / max(1.0 - after, 1e-6), least, most))
