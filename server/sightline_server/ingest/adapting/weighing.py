"""Labelled photos, compared with the products near them -> weights of ranking, kept only with a real gain.

    evidence -> fitted on the photos of half of the products -> measured on those of the others, both ways
             -> fitted on all photos
Rule: weights are measured on products that they were not fitted from, because they are for all products of the catalog.
The method is the conditional logit (McFadden, 1974): the chance of each compared product is a softmax of its score, and
the weights are those that make the products shown most likely. The loss is convex, so that neither a start nor the
order of photos and products matters. A pull holds the weights where they were unless the photos say otherwise.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.weights import MOST, FittedWeights, Weights
from sightline_server.ingest.adapting.comparing import Evidence
from sightline_server.ingest.adapting.gain import Hits, compared
from sightline_server.ingest.adapting.nearness import NOTHING

PULL = 0.05
"""Loss of a weight that differs from the one before, by the square of the difference in the exponent of the softmax."""
RIDGE = 1e-4
"""Loss of the square of the first factor, which has no bound where all photos are answered right."""
FIRST_FACTOR = 20.0
LEAST_FACTOR = 0.1
"""A similarity that counts less than this says nothing, and then no weight in its units means anything."""
STEPS = 60
ENOUGH = 1e-9
DIGITS = 4
LEAST_PRODUCTS = 10
"""Products whose photos have the right one among those compared, below which nothing is fitted."""

Array = NDArray[np.float64]
TERMS = ("local_features", "colours")
"""The weights that are fitted."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """Fitted weights, those before them, and the right answers by both on products that the fit had not seen."""

    before: Weights
    fitted: Weights
    hits: Hits

    @property
    def is_kept(self) -> bool:
        """True if the gain is real."""
        return self.hits.is_gain

    def facts(self) -> dict[str, Any]:
        """The measurements, plain JSON."""
        values = {name: {"before": getattr(self.before, name), "after": getattr(self.fitted, name)} for name in TERMS}
        return {"kept": self.is_kept, "hit@1": self.hits.rates(), "measured": self.hits.count, "weights": values}

    def stored(self, about: dict[str, Any]) -> FittedWeights | None:
        """The weights to store, with `about` among their facts; None without a real gain."""
        return FittedWeights(self.fitted, {**self.facts(), **about}) if self.is_kept else None


def weigh(evidence: Evidence, before: Weights, halves: Sequence[NDArray[np.intp]]) -> Weighing | None:
    """Weights for `evidence`, measured on `halves` of its products; None where it shows too few products."""
    if len(np.unique(evidence.shown[has_right(evidence)])) < LEAST_PRODUCTS:
        return None
    old, new = np.zeros(len(evidence), bool), np.zeros(len(evidence), bool)
    for seen, held in (halves, halves[::-1]):
        part = evidence.take(held)
        old[held] = right_answers(part, before)
        new[held] = right_answers(part, fit_weights(evidence.take(seen), before))
    return Weighing(before, fit_weights(evidence, before), compared(old, new))


def has_right(evidence: Evidence) -> NDArray[np.bool_]:
    """True for each photo that was compared with the product that it shows, bool [N]."""
    found: NDArray[np.bool_] = (evidence.products == evidence.shown[:, np.newaxis]).any(axis=1)
    return found


def right_answers(evidence: Evidence, weights: Weights) -> NDArray[np.bool_]:
    """True for each photo whose product comes first, bool [N]; of equal scores the first product comes first."""
    scores = evidence.similarities + terms_of(evidence, weights) @ np.array([getattr(weights, name) for name in TERMS])
    scores[evidence.products == NOTHING] = -np.inf
    best = scores == scores.max(axis=1, keepdims=True)
    firsts = np.where(best, evidence.products, np.iinfo(np.int32).max).min(axis=1)
    found: NDArray[np.bool_] = firsts == evidence.shown
    return found


def terms_of(evidence: Evidence, weights: Weights) -> Array:
    """The facts that the weights of `TERMS` are multiplied with, float64 [N,K,2]; points have the form of `weights`."""
    shares = np.array([weights.point_share(count) for count in range(int(evidence.points.max(initial=0)) + 1)])
    return np.stack([shares[evidence.points], evidence.colours], axis=-1)


def fit_weights(evidence: Evidence, before: Weights) -> Weights:
    """The weights that make the products shown most likely, pulled to those `before`; those where nothing is learnt."""
    kept = evidence.take(np.flatnonzero(has_right(evidence)))
    if not len(kept):
        return before
    facts = np.concatenate([kept.similarities[..., np.newaxis], terms_of(kept, before)], axis=-1)
    shown = (kept.products == kept.shown[:, np.newaxis]).argmax(axis=1)
    loss = Loss(facts, kept.products != NOTHING, shown, np.array([getattr(before, name) for name in TERMS]))
    factors = least_loss(loss)
    if factors is None:
        return before
    points, colours = (within(name, value) for name, value in zip(TERMS, factors[1:] / factors[0], strict=True))
    return replace(before, local_features=points, colours=colours)


def within(name: str, value: float) -> float:
    """The value of a weight within its bounds, with a few digits."""
    return round(min(max(float(value), 0.0), MOST[name]), DIGITS)


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """The loss of factors [F]: `facts` [N,K,F] of the products compared, those that are `there` [N,K], and the number
    of the right one, `shown` [N]. The first fact is the similarity, and `before` [F-1] are the weights of the others.
    """

    facts: Array
    there: NDArray[np.bool_]
    shown: NDArray[np.intp]
    before: Array

    def at(self, factors: Array) -> tuple[float, Array, Array]:
        """The value, the slopes [F] and the curvatures [F,F] at `factors`."""
        scores = np.where(self.there, self.facts @ factors, -np.inf)
        highest = scores.max(axis=1, keepdims=True)
        chances = np.exp(scores - highest)
        total = chances.sum(axis=1, keepdims=True)
        chances /= total
        rows = np.arange(len(self.shown))
        means = np.einsum("nk,nkf->nf", chances, self.facts)
        value = float((highest + np.log(total))[:, 0].sum() - scores[rows, self.shown].sum())
        slopes = (means - self.facts[rows, self.shown]).sum(axis=0)
        curvatures = np.einsum("nk,nkf,nkg->fg", chances, self.facts, self.facts) - means.T @ means
        pulls = np.concatenate([-self.before[:, np.newaxis], np.eye(len(self.before))], axis=1)
        off, ridge = pulls @ factors, np.zeros(len(factors))
        ridge[0] = RIDGE
        value += PULL * float(off @ off) + RIDGE * float(factors[0] ** 2)
        slopes = slopes + 2 * PULL * pulls.T @ off + 2 * ridge * factors
        return value, slopes, curvatures + 2 * PULL * pulls.T @ pulls + 2 * np.diag(ridge)


def least_loss(loss: Loss) -> Array | None:
    """The factors, none of them negative, with the least loss; None where the similarity says nothing.

    The loss is convex: where the least one has a negative factor, the least of those that are allowed has a factor 0.
    """
    count = len(loss.before)
    found: list[tuple[float, Array]] = []
    for free in sorted(itertools.product((True, False), repeat=count), reverse=True):
        factors = descended(loss, np.array([True, *free]))
        if factors[0] >= LEAST_FACTOR and (factors >= 0).all():
            found.append((loss.at(factors)[0], factors))
            if all(free):
                break
    return min(found, key=lambda each: each[0])[1] if found else None


def descended(loss: Loss, free: NDArray[np.bool_]) -> Array:
    """The factors with the least loss among those that are 0 where they are not `free`, by Newton's method."""
    factors = np.where(free, np.concatenate([[1.0], loss.before]) * FIRST_FACTOR, 0.0)
    value, slopes, curvatures = loss.at(factors)
    for _ in range(STEPS):
        step = np.zeros(len(factors))
        step[free] = np.linalg.solve(curvatures[np.ix_(free, free)] + 1e-12 * np.eye(int(free.sum())), slopes[free])
        if float(slopes @ step) < ENOUGH:
            break
        share = 1.0
        while (tried := loss.at(factors - share * step))[0] > value and share > 1e-6:
            share /= 2
        if tried[0] > value:
            break
        factors, (value, slopes, curvatures) = factors - share * step, tried
    return factors
