"""The approximate indexes of a GPU, as the server chooses and searches them: `python -m load_tests.gpu.choice`.

Exact search and each candidate on clustered vectors, by the server's own measurement; then each index that was built is
asked with a filter, and its answers are compared with a matrix product by numpy.
Rule: an index is judged by the rows that come back. `applies_selectors` says whether the server would give it a filter;
its rows are counted in any case.
"""

import argparse
import sys
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from load_tests.gpu.results import common_options, publish, say
from load_tests.gpu.vectors import NEAREST
from sightline_server.index.choice.approximate import ApproximateIndex
from sightline_server.index.choice.building import silent
from sightline_server.index.choice.candidates import Candidate, applicable
from sightline_server.index.choice.measuring import Trial, trial_of
from sightline_server.index.choice.trying import Tried, try_exact, try_one
from sightline_server.index.faiss_index import library_facts
from sightline_server.index.filters.probe import applies_selectors
from sightline_server.index.probes import SAME

PER_CLUSTER = 50
SPREAD = 0.7
"""Length of the step from a centre to one of its vectors, as in `load_tests.catalog_scale.shop`."""
PART_ROWS = 65_536
SHARE = 20
"""A filter lets one of so many vectors through."""
LIMIT_S = 90.0
FILTERED = 64


def main() -> int:
    """Measures; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.gpu.choice", description=__doc__)
    common_options(parser)
    parser.add_argument("--rows", type=int, help="vectors; default 1,000,000, with --cpu 20,000")
    parser.add_argument("--dimension", type=int, default=256, help="numbers of a vector")
    parser.add_argument("--name", default="choice", help="of the result's file")
    arguments = parser.parse_args()
    library = library_facts()
    if not arguments.cpu and not library.gpus:
        say(f"choice: faiss {library.version} ({library.flavour}) sees no GPU; for the small CPU mode: --cpu")
        return 2
    rows = arguments.rows or (20_000 if arguments.cpu else 1_000_000)
    trial = trial_of(clustered(rows, arguments.dimension), "1-gpu")
    figures: dict[str, Any] = {
        "library": f"faiss {library.version} ({library.flavour})",
        "size": f"{rows:,} x {arguments.dimension}",
        "tried": [asdict(told(try_exact(trial, gpu=not arguments.cpu)))],
    }
    for candidate in applicable(arguments.dimension, gpu=not arguments.cpu):
        figures["tried"].append(measured(trial, candidate))
    publish(arguments.name, figures, cpu=arguments.cpu, out=arguments.out)
    return 1 if any(each.get("wrong_rows") and each.get("applies_selectors") for each in figures["tried"]) else 0


def measured(trial: Trial, candidate: Candidate) -> dict[str, Any]:
    """The figures of one candidate, and of searches with a filter."""
    index, tried = try_one(trial, candidate, LIMIT_S, silent)
    told(tried)
    if index is None:
        return asdict(tried)
    searched = ApproximateIndex(index, trial.vectors, candidate, tried.effort)
    facts = {**asdict(tried), "applies_selectors": applies_selectors(searched, trial.vectors)}
    try:
        return {**facts, **filtered(trial, searched)}
    except Exception as error:  # whatever a library cannot do, it says in its own way
        return {**facts, "filter_refused": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}


def filtered(trial: Trial, index: ApproximateIndex) -> dict[str, Any]:
    """The rows that a filter excludes among those that came back, and the recall among those that it lets through."""
    allowed = np.random.default_rng(5).integers(0, SHARE, len(trial.vectors)) == 0
    queries = trial.queries[:FILTERED]
    similarities, rows = index.search_allowed(queries, NEAREST, allowed)
    found = rows[rows >= 0]
    tenth = tenth_nearest(queries, trial.vectors[allowed])
    return {
        "filtered_rows": len(found),
        "wrong_rows": int(np.count_nonzero(~allowed[found])),
        "filtered_recall_at_10": round(float(np.mean(similarities >= tenth[:, np.newaxis] - SAME)), 4),
    }


def tenth_nearest(queries: NDArray[np.float32], vectors: NDArray[np.float16]) -> NDArray[np.float32]:
    """The similarity of each query's tenth nearest vector."""
    unit = vectors.astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    tenth: NDArray[np.float32] = -np.partition(-(queries @ unit.T), NEAREST - 1, axis=1)[:, NEAREST - 1]
    return tenth


def clustered(rows: int, dimension: int) -> NDArray[np.float16]:
    """Vectors of length 1 around some centres, the same ones each time."""
    random = np.random.Generator(np.random.SFC64(7))
    centres = unit_rows(random.standard_normal((max(1, rows // PER_CLUSTER), dimension), np.float32))
    vectors = np.empty((rows, dimension), np.float16)
    for start in range(0, rows, PART_ROWS):
        part = vectors[start : start + PART_ROWS]
        steps = random.standard_normal(part.shape, np.float32) * np.float32(SPREAD / np.sqrt(dimension))
        part[:] = unit_rows(centres[random.integers(0, len(centres), len(part))] + steps)
    return vectors


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors with length 1."""
    scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def told(tried: Tried) -> Tried:
    """The same, after a line of progress."""
    say(f"choice: {tried.name}: {tried.note or f'recall@10 {tried.recall:.3f}, {tried.p50_ms} ms'}")
    return tried


if __name__ == "__main__":
    sys.exit(main())
