"""Weights of ranking that are fitted on half of the products and measured on the others, both ways.

    python -m load_tests.step_weights ANSWERS
ANSWERS is a file of `load_tests.steps --answers`, of a server with the shipped weights. Searches a grid of weights of
local features, printed text and colours for the most photos of one half whose product comes first, of equals those
closest to the shipped ones, and counts the hits of the other half with them. Refused photos are left out, because no
weight changes them. Prints one JSON object. What the halves do not agree on is chance, and no reason to ship it.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from load_tests.hit_rates.answers import Asked, read_answers
from load_tests.hit_rates.tables import HITS
from load_tests.steps import COLOURS, LOCAL, TEXT, TINY

WEIGHTS = tuple(kind.name.lower() for kind in (LOCAL, TEXT, COLOURS))
"""The reasons whose weights are fitted."""
SHIPPED = (0.2, 0.2, 0.0)
"""Their weights."""
COMPARED_WITH = (SHIPPED[0], SHIPPED[1], TINY)
"""The weights of the answers: the server compares colours at a weight that changes no rank."""
GRID = (
    (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5),
    (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5),
    (0.0, 0.05, 0.1, 0.15),
)
Facts = npt.NDArray[np.float64]
"""float64 [N,4]: similarity, and the shares of local features, printed text and colours, of the N products."""


def facts_of(asked: Asked) -> tuple[Facts, int | None]:
    """The facts about each product of an answer, and the position of the right one; None where it is not there."""
    names = [kind.name for kind in (LOCAL, TEXT, COLOURS)]
    rows = [
        [each.similarity, *(each.added.get(name, 0.0) / by for name, by in zip(names, COMPARED_WITH, strict=True))]
        for each in asked.candidates
    ]
    ids = [each.product_id for each in asked.candidates]
    return np.asarray(rows, np.float64), ids.index(asked.product_id) if asked.product_id in ids else None


def ranks(photos: Sequence[tuple[Facts, int | None]], weights: Sequence[float]) -> list[int | None]:
    """The rank of the right product of each photo, from 1."""
    factors = np.asarray([1.0, *weights])
    found: list[int | None] = []
    for facts, own in photos:
        scores = facts @ factors
        found.append(None if own is None else 1 + int(np.count_nonzero(scores > scores[own])))
    return found


def hits(found: Sequence[int | None]) -> dict[str, int]:
    """The number of ranks up to 1, 5 and 10."""
    return {hit: sum(rank is not None and rank <= int(hit.removeprefix("hit@")) for rank in found) for hit in HITS}


def fitted(photos: Sequence[tuple[Facts, int | None]]) -> tuple[float, ...]:
    """The weights of the grid with the most first hits, then the least distance to the shipped ones."""

    def merit(weights: Sequence[float]) -> tuple[int, float]:
        distance = sum(abs(one - other) for one, other in zip(weights, SHIPPED, strict=True))
        return hits(ranks(photos, weights))["hit@1"], -distance

    return max(product(*GRID), key=merit)


def halves(asked: Sequence[Asked]) -> tuple[list[Asked], list[Asked]]:
    """The answered photos of every other product, and those of the products between."""
    answered = [each for each in asked if not each.refused]
    names = sorted({each.product_id for each in answered})
    first = set(names[::2])
    return [a for a in answered if a.product_id in first], [a for a in answered if a.product_id not in first]


def report(asked: Sequence[Asked]) -> dict[str, Any]:
    """Weights that were fitted on each half, and the hits of the other one with them and with the shipped ones."""
    parts = [[facts_of(each) for each in part] for part in halves(asked)]
    found = []
    for fit_on, measured_on in (parts, parts[::-1]):
        weights = fitted(fit_on)
        with_shipped, with_fitted = ranks(measured_on, SHIPPED), ranks(measured_on, weights)
        firsts = [(old == 1, new == 1) for old, new in zip(with_shipped, with_fitted, strict=True)]
        found.append(
            {
                "fitted": dict(zip(WEIGHTS, weights, strict=True)),
                "photos": len(measured_on),
                "shipped": hits(with_shipped),
                "with fitted": hits(with_fitted),
                "gained": firsts.count((False, True)),
                "lost": firsts.count((True, False)),
            }
        )
    every = [*parts[0], *parts[1]]
    grid = {name: hits(ranks(every, weights)) for name, weights in named_weights().items()}
    return {"answered": len(every), "halves": found, "all": grid}


def named_weights() -> dict[str, tuple[float, float, float]]:
    """Weights around the shipped ones, whose hits say how much the choice matters."""
    local, text, _ = SHIPPED
    around = {f"{local} {each} 0": (local, each, 0.0) for each in GRID[1]}
    around |= {f"{each} {text} 0": (each, text, 0.0) for each in GRID[0]}
    return around | {f"{local} {text} {each}": (local, text, each) for each in GRID[2][1:]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Fits and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.step_weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("answers", type=Path)
    print(json.dumps(report(read_answers(parser.parse_args(arguments).answers))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
