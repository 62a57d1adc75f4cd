"""The verdict on the first product of an object: the chance that it is the very item, by a catalog's own labels.

    score of the first product, its lead over the next ones, its points in common -> logistic function -> chance
Rule: a similarity alone does not separate the same item from one that resembles it. It is shown by how far the first
product leads those that come next. Only a catalog whose labelled photos a verdict was fitted from has one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SAME_ITEM_CHANCE = 0.8
"""Chance from which on a product is called the same item."""
NEXT_GROUPS = 10
"""Item groups after the first product whose mean score its lead is measured from."""
LEAST_GROUPS = 5
"""Fewer other groups say nothing about how far a product leads."""
NAMES = ("bias", "score", "lead", "margin", "points")
MOST_NEIGHBOURS = 1000


class VerdictError(ValueError):
    """The reason why a verdict cannot be used."""


@dataclass(frozen=True, slots=True)
class Prominence:
    """The lead of the first product over the others near an object.

    `score` is its similarity with the contributions of the closer comparison, `lead` the score less the mean of the
    best ones of the next ten item groups, `margin` the score less that of the next group, and `points` the contribution
    of points in common.
    """

    score: float
    lead: float
    margin: float
    points: float

    def facts(self) -> tuple[float, float, float, float]:
        """All four numbers."""
        return self.score, self.lead, self.margin, self.points


@dataclass(frozen=True, slots=True)
class Verdict:
    """A logistic function of a `Prominence` among the `neighbours` products of the highest similarity.

    With `with_points` it was fitted with the closer comparison, and says nothing of an object without.
    """

    bias: float
    score: float
    lead: float
    margin: float
    points: float
    neighbours: int
    with_points: bool

    def chance(self, prominence: Prominence) -> float:
        """The chance 0..1 that the first product is the item."""
        factors = (self.score, self.lead, self.margin, self.points)
        exponent = self.bias + sum(one * other for one, other in zip(factors, prominence.facts(), strict=True))
        return 1.0 / (1.0 + math.exp(-min(max(exponent, -700.0), 700.0)))

    def is_same_item(self, prominence: Prominence | None) -> bool:
        """Returns whether the first product may be called the same item."""
        return prominence is not None and self.chance(prominence) >= SAME_ITEM_CHANCE

    def facts(self) -> dict[str, Any]:
        """The verdict as plain JSON."""
        factors = {name: getattr(self, name) for name in NAMES}
        return factors | {"neighbours": self.neighbours, "with_points": self.with_points}

    @classmethod
    def parse(cls, facts: Any) -> "Verdict":
        """The reverse of `facts`. Raises `VerdictError`."""
        if not isinstance(facts, dict) or set(facts) != {*NAMES, "neighbours", "with_points"}:
            raise VerdictError("it has not the values of a verdict")
        if not all(isinstance(facts[name], float) and math.isfinite(facts[name]) for name in NAMES):
            raise VerdictError("a factor is not a number")
        neighbours, with_points = facts["neighbours"], facts["with_points"]
        if not isinstance(neighbours, int) or isinstance(neighbours, bool) or not 1 <= neighbours <= MOST_NEIGHBOURS:
            raise VerdictError(f"neighbours is not a number from 1 to {MOST_NEIGHBOURS}")
        if not isinstance(with_points, bool):
            raise VerdictError("with_points is not true or false")
        return cls(**facts)


NO_CLAIM = Verdict(-700.0, 0.0, 0.0, 0.0, 0.0, neighbours=1, with_points=False)
"""The verdict that calls nothing the same item."""


@dataclass(frozen=True, slots=True, eq=False)
class FittedVerdict:
    """A verdict with the facts about its fit, plain JSON."""

    verdict: Verdict
    facts: Mapping[str, Any] = field(default_factory=dict)


def prominence_of(scores: Sequence[float], groups: Sequence[int], first: int, points: float) -> Prominence | None:
    """the prominence of product number `first` among those with `scores` and item `groups`.

    None where fewer than `LEAST_GROUPS` other groups are there.
    """
    best: dict[int, float] = {}
    for score, group in zip(scores, groups, strict=True):
        if group != groups[first]:
            best[group] = max(score, best.get(group, -math.inf))
    if len(best) < LEAST_GROUPS:
        return None
    following = sorted(best.values(), reverse=True)[:NEXT_GROUPS]
    score = scores[first]
    return Prominence(score, score - math.fsum(following) / len(following), score - following[0], points)
