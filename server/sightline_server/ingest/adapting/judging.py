"""Labelled photos, compared with the products near them -> the verdict on first products, and how often it is right.

    each photo with its product in the catalog, and once more with the item group of that hidden
        -> prominence of the first product, and whether it is the right one -> logistic regression
        -> fitted on the photos of half of the products, measured on those of the others, both ways -> fitted on all
Rule: half of the cases show an item that is not there, because callers photograph such items as well, and a verdict
that has never met one calls the nearest product the same item.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.verdict import SAME_ITEM_CHANCE, FittedVerdict, Prominence, Verdict, prominence_of
from sightline_server.domain.weights import Weights
from sightline_server.ingest.adapting.comparing import Evidence
from sightline_server.ingest.adapting.nearness import NOTHING
from sightline_server.ingest.adapting.weighing import TERMS, terms_of

RIDGE = 1.0
"""Loss of the square of a factor of a standardised number: few cases do not give the certainty that they seem to."""
STEPS = 50
ENOUGH = 1e-10
BINS = 10
LEAST_CASES = 20
"""Right and wrong first products that a fit needs each."""
LEAST_SAID = 10
"""Verdicts `same item` on held-out cases without which nothing is known about how often they are right."""
LEAST_RIGHT = 0.75
"""Share of verdicts `same item` on held-out products that must be right."""
MOST_ECE = 0.1

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Prominences of first products, float64 [C,4], and for each whether that is `right`, bool [C], whether its photo's
    item was `hidden`, bool [C], and the number of the photo, int [C]."""

    prominences: Array
    right: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    photos: NDArray[np.intp]

    def of(self, places: NDArray[np.intp]) -> "Cases":
        """Those of some photos."""
        kept = np.isin(self.photos, places)
        return Cases(self.prominences[kept], self.right[kept], self.hidden[kept], self.photos[kept])


@dataclass(frozen=True, slots=True, eq=False)
class Judging:
    """A fitted verdict, and the chances [C] and the truth [C] of cases of products that the fit had not seen."""

    verdict: Verdict
    chances: Array
    cases: Cases

    @property
    def ece(self) -> float:
        """The expected calibration error: how far chances lie from the share that is right, in ten bins."""
        bins = np.minimum((self.chances * BINS).astype(np.intp), BINS - 1)
        counts = np.bincount(bins, minlength=BINS)
        off = np.bincount(bins, weights=self.chances - self.cases.right, minlength=BINS)
        return float(np.abs(off).sum() / max(1, counts.sum()))

    def said(self) -> dict[str, float]:
        """The share of photos whose first product is called the same item, with the item in the catalog and hidden, and
        the share of all such verdicts that is right."""
        same, hidden = self.chances >= SAME_ITEM_CHANCE, self.cases.hidden
        parts = {"said": same[~hidden], "right": self.cases.right[same], "said_hidden": same[hidden]}
        return {name: round(float(part.mean()) if len(part) else 0.0, 4) for name, part in parts.items()}

    @property
    def is_kept(self) -> bool:
        """True if `same item` is said often enough of products that the fit had not seen, and is right often enough."""
        count = int((self.chances >= SAME_ITEM_CHANCE).sum())
        return count >= LEAST_SAID and self.said()["right"] >= LEAST_RIGHT and self.ece <= MOST_ECE

    def facts(self) -> dict[str, Any]:
        """The measurements, plain JSON."""
        return {"kept": self.is_kept, "ece": round(self.ece, 4), "measured": len(self.cases.right), **self.said()}

    def stored(self, about: dict[str, Any]) -> FittedVerdict | None:
        """The verdict to store, with `about` among its facts; None where it is not kept."""
        return FittedVerdict(self.verdict, {**self.facts(), **about}) if self.is_kept else None


def judge(
    evidence: Evidence,
    groups: NDArray[np.intp],
    weights: Weights,
    halves: Sequence[NDArray[np.intp]],
    *,
    compared: bool,
) -> Judging | None:
    """The verdict for products ordered by `weights`, measured on `halves` of the photos.

    `groups` [P] are the item groups of all products of the catalog. `compared` says whether local features were. None
    where the cases are too few or of one kind.
    """
    cases = cases_of(evidence, groups, weights)
    if not cases.hidden.any():
        return None
    parts = [cases, *(cases.of(half) for half in halves)]
    if min(min(int(each.right.sum()), int((~each.right).sum())) for each in parts) < LEAST_CASES // 2:
        return None
    if min(int(cases.right.sum()), int((~cases.right).sum())) < LEAST_CASES:
        return None
    chances = np.zeros(len(cases.right))
    for seen, held in (halves, halves[::-1]):
        factors = fit_logistic(cases.of(seen))
        chances[np.isin(cases.photos, held)] = chances_of(factors, cases.of(held).prominences)
    bias, score, lead, margin, points = (float(each) for each in fit_logistic(cases))
    verdict = Verdict(bias, score, lead, margin, points, neighbours=evidence.products.shape[1], with_points=compared)
    return Judging(verdict, chances, cases)


def cases_of(evidence: Evidence, groups: NDArray[np.intp], weights: Weights) -> Cases:
    """Two cases of each photo: as it is, and with the item group of its product hidden."""
    found = [
        (prominence.facts(), right, hidden, place)
        for place in range(len(evidence))
        for prominence, right, hidden in prominences(evidence, place, groups, weights)
    ]
    facts, right, hidden, photos = zip(*found, strict=True) if found else ((), (), (), ())
    return Cases(
        np.array(facts, np.float64).reshape(-1, 4),
        np.array(right, bool),
        np.array(hidden, bool),
        np.array(photos, np.intp),
    )


def prominences(
    evidence: Evidence, place: int, groups: NDArray[np.intp], weights: Weights
) -> Iterator[tuple[Prominence, bool, bool]]:
    """The prominences of the first product for one photo, whether it is right, and whether the item was hidden."""
    there = evidence.products[place] != NOTHING
    terms = terms_of(evidence.take(np.array([place])), weights)[0][there]
    scores = evidence.similarities[place, there] + terms @ np.array([getattr(weights, name) for name in TERMS])
    products, shown = evidence.products[place, there], evidence.shown[place]
    for hidden in (False, True):
        kept = groups[products] != groups[shown] if hidden else np.ones(len(products), bool)
        if not kept.any():
            continue
        first = int(np.lexsort((products[kept], -scores[kept]))[0])
        points = weights.local_features * float(terms[kept][first, 0])
        prominence = prominence_of(scores[kept].tolist(), groups[products[kept]].tolist(), first, points)
        if prominence is not None:
            yield prominence, bool(products[kept][first] == shown), hidden


def fit_logistic(cases: Cases) -> Array:
    """The bias and the factors [5] of the logistic regression of `cases`, by Newton's method."""
    middle, spread = cases.prominences.mean(axis=0), cases.prominences.std(axis=0)
    # A number that never changes, such as points where nothing is compared, gets the factor 0.
    spread = np.where(spread > 1e-9, spread, np.inf)
    facts = np.column_stack([np.ones(len(cases.right)), (cases.prominences - middle) / spread])
    ridge = np.diag([0.0, *[RIDGE] * cases.prominences.shape[1]])
    factors = np.zeros(facts.shape[1])
    for _ in range(STEPS):
        chances = sigmoid(facts @ factors)
        slopes = facts.T @ (chances - cases.right) + ridge @ factors
        curvatures = (facts * (chances * (1 - chances))[:, np.newaxis]).T @ facts + ridge + 1e-9 * np.eye(len(factors))
        step = np.linalg.solve(curvatures, slopes)
        factors = factors - step
        if float(slopes @ step) < ENOUGH:
            break
    scaled = factors[1:] / spread
    return np.concatenate([[factors[0] - scaled @ middle], scaled])


def chances_of(factors: Array, prominences: Array) -> Array:
    """The chances of prominences [C,4], float64 [C]."""
    return sigmoid(factors[0] + prominences @ factors[1:])


def sigmoid(exponents: Array) -> Array:
    """The logistic function."""
    found: Array = 1.0 / (1.0 + np.exp(-np.clip(exponents, -700.0, 700.0)))
    return found
