"""The index of an opened catalog: exact, or the one that was chosen for it; and making that choice.

    serving:  few vectors -> exact;  else the record of this content -> its file, or built again;  else a proposal
    choosing: candidates tried on the catalog's vectors -> record and file next to the catalog
Rule: a server never tries candidates. An index that it cannot trust or prove is replaced by exact search,
which is always right.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sightline_server.index import selfcheck
from sightline_server.index.choice.approximate import ApproximateIndex
from sightline_server.index.choice.building import Progress, build, in_steps, silent
from sightline_server.index.choice.candidates import BY_NAME, Candidate, applicable
from sightline_server.index.choice.measuring import trial_of
from sightline_server.index.choice.record import IndexRecord
from sightline_server.index.choice.shelf import IndexShelf, file_of
from sightline_server.index.choice.trying import LEAST_RECALL, Tried, choose
from sightline_server.index.faiss_index import FaissIndex, Run, here
from sightline_server.index.filters.planner import GPU_LIMITS, PlanLimits
from sightline_server.index.opened_catalog import Catalog
from sightline_server.index.vectors import VectorIndex, VectorRows, Vectors

logger = logging.getLogger(__name__)

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class IndexPolicy:
    """`exact_bytes` of float32 vectors are searched exactly; the build of one candidate may take `build_limit_s`."""

    exact_bytes: int = 512 * MIB
    build_limit_s: float = 300.0

    def is_exact(self, vectors: VectorRows) -> bool:
        """Returns whether `vectors` are few enough to compare them all."""
        return 4 * vectors.size <= self.exact_bytes


@dataclass(frozen=True, slots=True, eq=False)
class ChosenIndex:
    """An index that is ready, and the limits of filters on it."""

    index: VectorIndex
    limits: PlanLimits


DEFAULT_POLICY = IndexPolicy()


def index_of(name: str, catalog: Catalog, policy: IndexPolicy, *, use_gpu: bool, run: "Run[Any]" = here) -> ChosenIndex:
    """The index to serve `catalog` with, under the name `name` in the log. `run` is that of `FaissIndex`."""
    if catalog.adapter is not None:
        if not policy.is_exact(catalog.rows):
            logger.info("catalog %s: exact search, because it has an adapter", name)
    elif not policy.is_exact(catalog.vectors):
        found = recorded_index(name, catalog, use_gpu=use_gpu, run=run)
        if found is not None:
            return found
    return ChosenIndex(FaissIndex(catalog.rows, use_gpu=use_gpu, run=run), GPU_LIMITS if use_gpu else PlanLimits())


def recorded_index(name: str, catalog: Catalog, *, use_gpu: bool, run: "Run[Any]") -> ChosenIndex | None:
    """The index that is recorded for `catalog`; None, and a log line that says why, for exact search."""
    shelf, content = IndexShelf(catalog.path), catalog.facts.content_sha256
    record = shelf.record_of(content) or shelf.newest()
    reason = unusable(record, catalog, use_gpu=use_gpu)
    if record is None or reason:
        logger.info("catalog %s: exact search, %s", name, reason)
        return None
    candidate, made = BY_NAME[record.chosen.name], None
    measured_before = record.content == content
    if measured_before:
        made = shelf.load(record, catalog.vectors)
    loaded = made is not None
    if made is None:
        logger.info("catalog %s: building the index %s", name, candidate.name)
        made = built(name, candidate, catalog.vectors, run if candidate.gpu else here)
    if made is None:
        return None
    index = ApproximateIndex(made, catalog.vectors, candidate, record.chosen.effort)
    # On the CPU the device thread goes on searching what it serves.
    if not proven(name, index, catalog, run if candidate.gpu else here, loaded=loaded):
        return None
    logger.info("catalog %s: index %s %s", name, candidate.name, "loaded" if loaded else "built")
    from_rows = record.chosen.selector_from if measured_before else len(catalog.vectors) + 1
    return ChosenIndex(index, PlanLimits(selector_from=from_rows))


def unusable(record: IndexRecord | None, catalog: Catalog, *, use_gpu: bool) -> str:
    """The reason why `record` names no index for `catalog`; empty when it does."""
    if record is None:
        return f"because no index was chosen; choose one with: sightline catalog index {catalog.path}"
    if record.exact:
        return "as chosen"
    if record.gpu is not use_gpu:
        return f"because the chosen index {record.chosen.name} is for {'a GPU' if record.gpu else 'the CPU'}"
    if not record.proposes(*catalog.vectors.shape):
        return (
            f"because the index was chosen for {record.vectors} x {record.dimension}; choose again with: "
            f"sightline catalog index {catalog.path}"
        )
    return ""


def built(name: str, candidate: Candidate, vectors: Vectors, run: "Run[Any]") -> Any:
    """FAISS's index of `candidate`, by half of the cores; None, and a log line, when it cannot be built."""
    total, threads = len(vectors), max(1, (os.cpu_count() or 1) // 2)

    def show(done: int) -> None:
        logger.info("catalog %s: index %s: %d of %d vectors", name, candidate.name, done, total)

    try:
        return run(lambda: build(candidate, vectors, progress=in_steps(total, show), threads=threads))
    except Exception:  # whatever the library cannot do here, exact search can
        logger.warning("exact search, because the index %s cannot be built", candidate.name, exc_info=True)
        return None


def proven(name: str, index: ApproximateIndex, catalog: Catalog, run: "Run[Any]", *, loaded: bool) -> bool:
    """Returns whether the index finds enough; it is closed and the log says so when it does not.

    One that was loaded was measured when it was chosen, so fewer probes are enough.
    """
    recall = run(lambda: found_by(index, catalog, loaded=loaded))
    if recall >= LEAST_RECALL:
        return True
    index.close()
    logger.warning(
        "catalog %s: exact search, because the chosen index has recall@10 %.3f on this revision, expected at least "
        "%.2f; choose again with: sightline catalog index %s",
        *(name, recall, LEAST_RECALL, catalog.path),
    )
    return False


def found_by(index: ApproximateIndex, catalog: Catalog, *, loaded: bool) -> float:
    """The recall@10 of `index`, in the thread that owns it from now on."""
    index.adopt()
    if loaded:
        return selfcheck.recall(index, catalog.vectors)
    return trial_of(catalog.vectors, catalog.revision).recall(index.search)


def choose_index(
    catalog: Catalog,
    policy: IndexPolicy,
    candidates: Sequence[Candidate] = (),
    *,
    gpu: bool = False,
    done: Callable[[Tried], None] = lambda tried: None,
    progress: Callable[[str], Progress] = lambda name: silent,
) -> IndexRecord:
    """Tries `candidates`, by default all that apply, on `catalog`, and records the cheapest one that finds enough.

    Takes minutes for a million vectors, and as much memory as exact search in addition. Raises `OSError` when the
    record cannot be written.
    """
    vectors = catalog.vectors
    candidates = candidates or applicable(vectors.shape[1], gpu=gpu)
    trial = trial_of(vectors, catalog.revision)
    choice = choose(trial, candidates, limit_s=policy.build_limit_s, gpu=gpu, done=done, progress=progress)
    record = IndexRecord(
        content=catalog.facts.content_sha256,
        revision=catalog.revision,
        vectors=len(vectors),
        dimension=vectors.shape[1],
        chosen_at=datetime.now(UTC).isoformat(timespec="seconds"),
        chosen=choice.chosen,
        tried=choice.tried,
        file=None if choice.data is None else file_of(choice.data, vectors),
    )
    IndexShelf(catalog.path).save(record, choice.data)
    return record


def recorded(path: Path, content: str) -> IndexRecord | None:
    """The record of the catalog at `path` with the content of that digest, None without one."""
    return IndexShelf(path).record_of(content)
