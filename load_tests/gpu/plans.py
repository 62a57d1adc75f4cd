"""The ways of searching under a filter with the vectors on the GPU: `python -m load_tests.gpu.plans`.

A copy of what matches that is compared on the CPU, the GPU index with a selector, and a comparison in parts, timed side
by side by `load_tests.filter_plans`; `GPU_LIMITS` of the server's planner come from this table.
Rule: the searches are the server's own. Where FAISS ignores selectors the step fails, because its times say nothing.
"""

import argparse
import sys
from dataclasses import asdict

from load_tests.filter_plans import timings, unit_vectors
from load_tests.gpu.results import common_options, publish, say
from sightline_server.index.faiss_index import FaissIndex, library_facts
from sightline_server.index.filters.probe import applies_selectors

DIMENSION = 256
BATCHES = (1, 8, 32)
SIZES = {20_000: 9, 100_000: 5, 1_000_000: 2}
"""Vectors -> runs, of which the fastest counts."""
CPU_SIZES = {5_000: 2}
PROBED = 10_000


def main() -> int:
    """Measures; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.gpu.plans", description=__doc__)
    common_options(parser)
    arguments = parser.parse_args()
    library, use_gpu = library_facts(), not arguments.cpu
    if use_gpu and not library.gpus:
        say(f"plans: faiss {library.version} ({library.flavour}) sees no GPU; for the small CPU mode: --cpu")
        return 2
    vectors = unit_vectors(PROBED, DIMENSION)
    if not applies_selectors(FaissIndex(vectors, use_gpu=use_gpu), vectors):
        say(f"plans: the index of faiss {library.version} ({library.flavour}) does not apply selectors")
        return 1
    table = []
    for rows, runs in (SIZES if use_gpu else CPU_SIZES).items():
        say(f"plans: {rows:,} x {DIMENSION}")
        table += [asdict(each) for each in timings(rows, DIMENSION, BATCHES, runs, use_gpu=use_gpu)]
    facts = {"library": f"faiss {library.version} ({library.flavour})", "plans": table}
    publish("plans", facts, cpu=arguments.cpu, out=arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
