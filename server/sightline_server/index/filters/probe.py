"""Does an index skip what a selector forbids? Asked of every index before it serves.

Rule: judged by the rows that come back, never by the absence of an error. What the plain search returns is forbidden,
so that an index that ignores the selector returns exactly that.
"""

import logging

import numpy as np

from sightline_server.index.vectors import VectorIndex, VectorRows, Vectors

logger = logging.getLogger(__name__)

PROBES = 8
NEAREST = 10


def applies_selectors(index: VectorIndex, vectors: VectorRows) -> bool:
    """Returns whether every row that a search of `index`, which is over `vectors` [V,D], returns is an allowed one.

    To be called by the owner of the index. An index that raises does not apply selectors.
    """
    probes = vectors[np.linspace(0, len(vectors) - 1, min(PROBES, len(vectors)), dtype=np.int64)].astype(np.float32)
    k = min(NEAREST, index.max_k)
    try:
        return all(skips_nearest(index, probe, k, len(vectors)) for probe in probes[:, np.newaxis])
    except Exception as error:  # whatever a library cannot do, it says in its own way
        logger.info("the index refuses selectors (%s)", type(error).__name__)
        return False


def skips_nearest(index: VectorIndex, probe: Vectors, k: int, count: int) -> bool:
    """Returns whether a search that forbids the nearest rows of `probe` [1,D] returns as many others as there are."""
    probe = probe.astype(np.float32)
    allowed = np.ones(count, bool)
    _, nearest = index.search(probe, k)
    allowed[nearest[nearest >= 0]] = False
    _, rows = index.search_allowed(probe, k, allowed)
    found = rows[rows >= 0]
    expected = min(k, int(allowed.sum())) if index.exact else min(1, int(allowed.sum()))
    return len(found) >= expected and bool(allowed[found].all())


def selector_text(applies: bool) -> str:
    """The finding, for the log."""
    return "it applies selectors" if applies else "it does not apply selectors, so filters do without"
