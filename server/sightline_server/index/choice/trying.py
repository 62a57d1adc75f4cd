"""Building and measuring each candidate on a catalog's vectors, and taking the cheapest one that is right.

    exact -> candidates one after the other -> the least effort that finds enough -> latency, memory -> choice
Rule: exact search always takes part, so there is always a choice. One index is held at a time, and the bytes of the
best one so far.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.index.choice.approximate import ApproximateIndex
from sightline_server.index.choice.building import Progress, TooSlowError, build, silent, stored_bytes, to_bytes
from sightline_server.index.choice.candidates import Candidate
from sightline_server.index.choice.measuring import Trial, selector_from
from sightline_server.index.faiss_index import FaissIndex
from sightline_server.index.filters.planner import PlanLimits

logger = logging.getLogger(__name__)

EXACT = "exact"
LEAST_RECALL = 0.95
AIMED_RECALL = 0.97
"""The effort is raised until this is found, so that other queries find `LEAST_RECALL` too."""


@dataclass(frozen=True, slots=True)
class Tried:
    """The figures of one index. `size` is all that it holds in memory, in bytes, with the vectors that rank its rows.

    `note` is the reason why it was not measured, else empty.
    """

    name: str
    effort: int = 0
    recall: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    size: int = 0
    build_s: float = 0.0
    selector_from: int = 0
    note: str = ""

    @property
    def cost(self) -> float:
        """Latency times memory: an index may take twice the memory of another where it is more than twice as fast."""
        return (self.p50_ms + self.p99_ms) * self.size

    @property
    def right(self) -> bool:
        """Returns whether it was measured and finds enough."""
        return not self.note and self.recall >= LEAST_RECALL


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The chosen figures, all that were measured, and the chosen index in FAISS's format; None for exact search."""

    chosen: Tried
    tried: tuple[Tried, ...]
    data: NDArray[np.uint8] | None


def choose(
    trial: Trial,
    candidates: Sequence[Candidate],
    *,
    limit_s: float,
    gpu: bool = False,
    done: Callable[[Tried], None] = lambda tried: None,
    progress: Callable[[str], Progress] = lambda name: silent,
) -> Choice:
    """Tries exact search and each of `candidates`, whose builds may take `limit_s` seconds each.

    Exact search runs where it would serve: on the GPU with `gpu`, else on the CPU. `done` receives the figures of each;
    `progress` makes the receiver of how many vectors an index has.
    """
    best = try_exact(trial, gpu=gpu)
    tried, data = [best], None
    done(best)
    for candidate in candidates:
        index, found = try_one(trial, candidate, limit_s, progress(candidate.name))
        tried.append(found)
        done(found)
        if index is not None and found.right and found.cost < best.cost:
            best, data = found, None if candidate.gpu else to_bytes(index)
    return Choice(best, tuple(tried), data)


def try_exact(trial: Trial, *, gpu: bool) -> Tried:
    """The figures of exact search on the GPU or the CPU. `size` is that of the numbers, float16 on a GPU."""
    began = time.monotonic()
    index = FaissIndex(trial.vectors, use_gpu=gpu)
    build_s = round(time.monotonic() - began, 1)
    p50_ms, p99_ms = trial.latencies_ms(index.search)
    recall = trial.recall(index.search)
    size = index.memory_bytes
    index.close()
    return Tried(EXACT, 0, recall, p50_ms, p99_ms, size, build_s)


def try_one(trial: Trial, candidate: Candidate, limit_s: float, progress: Progress) -> tuple[Any, Tried]:
    """FAISS's index of `candidate` and its figures; None and the reason where it cannot be built in `limit_s`."""
    began = time.monotonic()
    try:
        index = build(candidate, trial.vectors, limit_s=limit_s, progress=progress)
    except TooSlowError as slow:
        return None, Tried(candidate.name, note=f"{slow}, the limit is {limit_s:.0f} s")
    except MemoryError:
        return None, Tried(candidate.name, note="there is not enough memory to build it")
    except Exception as error:  # a kind that the installed library cannot build is one candidate less
        logger.info("index %s cannot be tried", candidate.name, exc_info=True)
        return None, Tried(candidate.name, note=f"it cannot be built here ({type(error).__name__})")
    build_s = round(time.monotonic() - began, 1)
    return index, measured(trial, candidate, index, build_s)


def measured(trial: Trial, candidate: Candidate, index: Any, build_s: float) -> Tried:
    """The figures of an index that was built, with the least effort that finds enough."""
    searched, recall = tuned(trial, candidate, index)
    size = 2 * trial.vectors.size + stored_bytes(index)
    if recall < LEAST_RECALL:
        return Tried(candidate.name, searched.effort, recall, size=size, build_s=build_s)
    p50_ms, p99_ms = trial.latencies_ms(searched.search)
    from_rows = selector_from(searched, trial, LEAST_RECALL, PlanLimits())
    return Tried(candidate.name, searched.effort, recall, p50_ms, p99_ms, size, build_s, from_rows)


def tuned(trial: Trial, candidate: Candidate, index: Any) -> tuple[ApproximateIndex, float]:
    """The index with the least effort that finds `AIMED_RECALL`, or the most that there is; and what it finds."""
    for effort in candidate.efforts:
        searched = ApproximateIndex(index, trial.vectors, candidate, effort)
        recall = trial.recall(searched.search)
        if recall >= AIMED_RECALL:
            break
    return searched, recall
