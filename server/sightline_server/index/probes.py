"""The probes of a revision and their exact answers, computed once when the catalog is opened.

    some vectors of a revision -> each moved by a random step -> a matrix product with every vector -> rows of products
Rule: the truth is numpy over the catalog's own vectors and never the index that is judged. The work is done in parts of
a bounded size by the thread that opens the catalog, or after a rollback by another one, so neither memory nor a search
depends on how many vectors there are.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.domain.probes import NO_PROBES, Probes
from sightline_server.index.adapter import AdaptedRows, Adapter
from sightline_server.index.faiss_index import unit_parts
from sightline_server.index.held_content import without_pause
from sightline_server.index.neighbours import HitColumns, IdOrder, distinct_products
from sightline_server.index.opened_catalog import Catalog
from sightline_server.index.products import order_by, single
from sightline_server.index.selfcheck import NEAREST, inner_products
from sightline_server.index.vectors import VectorRows

logger = logging.getLogger(__name__)

MOST, LEAST = 256, 16
MOST_MERGED = 64
"""Of a base that a merge has made, which is measured a few times until the next merge. They take a quarter of the time,
which was half of that of a merge of 10,000 x 1280."""
WORK = 1 << 36
"""Products of two numbers that the truth may take: 256 probes of a million vectors of 256 numbers, 53 of 1280."""
JITTER = 0.5
"""Length of the random step from a catalog vector to its probe, whose cosine to it is then about 0.9."""
PART_ROWS = 4096
"""Vectors that are compared at once: 4 MB of similarities."""
CANDIDATES = 128
"""Nearest vectors of a probe from which its nearest products are chosen."""
ANSWERED = 8
"""Probes that are answered between two pauses."""
EQUALS = 6
"""Most products beyond the tenth that count as right because they are as near."""
QUERIES, ANSWERS, K = "queries", "answers", "k"
SAME = 1e-4
"""Difference of similarities that an index of float16 may confuse: its rounding is about a tenth of that for vectors of
1280 numbers, and four tenths for 64."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The nearest vectors of each probe, most similar first: similarities and rows [N,C]; `whole` if these are all."""

    similarities: NDArray[np.float32]
    rows: NDArray[np.int64]
    whole: bool


def catalog_probes(catalog: Catalog, pause: Callable[[], None] = without_pause) -> Probes:
    """The probes of an opened catalog; `pause` as for `probes_of`."""
    ids = catalog.display["id"]
    return probes_of(catalog.revision, catalog.vectors, catalog.owners, ids, adapter=catalog.adapter, pause=pause)


def probes_of(
    revision: str,
    vectors: VectorRows,
    owners: NDArray[np.int32],
    ids: pa.ChunkedArray,
    *,
    most: int = MOST,
    adapter: Adapter | None = None,
    pause: Callable[[], None] = without_pause,
) -> Probes:
    """At most `most` probes of `revision`: the same ones each time.

    `vectors` are [V,D], of the products `owners` [V] with `ids`; with `adapter` they are as they are stored. `pause` is
    called before each part of the work; a part takes some tens of milliseconds at most.

    Left out is a probe whose nearest products are not among its nearest vectors: one product has very many images
    there, or very many products share one.
    """
    queries = moved(vectors, revision, most)
    if adapter is None:
        truth = nearest_vectors(queries, vectors, pause=pause)
    else:
        assert isinstance(vectors, np.ndarray)
        truth = nearest_vectors(
            adapter.of_queries(queries), AdaptedRows(adapter, vectors.astype(np.float16, copy=False)), pause=pause
        )
    order, k = order_by(single(ids)), min(NEAREST, len(ids))
    answers: list[Sequence[int]] = []
    for place in range(len(queries)):
        if place % ANSWERED == 0:
            pause()
        answers.append(answer(truth, place, owners, k, order))
    settled = [place for place, rows in enumerate(answers) if rows]
    if not settled:
        logger.warning("revision %s: its live recall is not measured, too many of its images are equal", revision)
        return NO_PROBES
    filled = [[*answers[place], *[-1] * (k + EQUALS - len(answers[place]))] for place in settled]
    return Probes(queries[settled], np.array(filled, np.int32), k)


def moved(vectors: VectorRows, revision: str, most: int = MOST) -> NDArray[np.float32]:
    """At most `most` vectors of `revision`, each moved by a random step so that it does not find itself with 1.0."""
    random = np.random.default_rng(np.frombuffer(hashlib.sha256(revision.encode()).digest(), np.uint32))
    count = min(len(vectors), most, max(LEAST, WORK // vectors.size))
    drawn = vectors[np.sort(random.choice(len(vectors), count, replace=False))].astype(np.float32)
    steps = random.standard_normal(drawn.shape, np.float32)
    return unit(unit(random.permutation(drawn)) + JITTER * unit(steps))


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors with length 1."""
    scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def nearest_vectors(
    queries: NDArray[np.float32],
    vectors: VectorRows,
    count: int = CANDIDATES,
    pause: Callable[[], None] = without_pause,
) -> Truth:
    """The `count` vectors nearest to each of `queries`, or all where there are fewer; `pause` as for `probes_of`."""
    count = min(count, len(vectors))
    best = np.full((len(queries), count), -np.inf, np.float32)
    rows = np.full((len(queries), count), -1, np.int64)
    start = 0
    for part in unit_parts(vectors, PART_ROWS):
        pause()
        near, places = above(inner_products(queries, part), best.min(axis=1, keepdims=True))
        best, rows = merged(best, rows, near, places + start)
        start += len(part)
    order = np.argsort(-best, axis=1, kind="stable")
    return Truth(np.take_along_axis(best, order, 1), np.take_along_axis(rows, order, 1), count == len(vectors))


def above(
    similarities: NDArray[np.float32], bound: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The similarities [N,V] above `bound` [N,1] and their columns, moved to the left, the rest filled with -inf."""
    probes, columns = np.nonzero(similarities > bound)
    counts = np.bincount(probes, minlength=len(similarities))
    slots = np.arange(len(probes)) - np.repeat(np.cumsum(counts) - counts, counts)
    near = np.full((len(similarities), int(counts.max())), -np.inf, np.float32)
    places = np.zeros(near.shape, np.int64)
    near[probes, slots] = similarities[probes, columns]
    places[probes, slots] = columns
    return near, places


def merged(
    best: NDArray[np.float32], rows: NDArray[np.int64], near: NDArray[np.float32], places: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The best of both, as many as `best` has, in no order."""
    count = best.shape[1]
    similarities, every = np.concatenate([best, near], axis=1), np.concatenate([rows, places], axis=1)
    kept = np.argpartition(-similarities, count - 1, axis=1)[:, :count]
    return np.take_along_axis(similarities, kept, 1), np.take_along_axis(every, kept, 1)


def answer(truth: Truth, probe: int, owners: NDArray[np.int32], k: int, order: IdOrder) -> Sequence[int]:
    """The rows of the `k` products nearest to `probe` and of those that are as near; empty if not settled."""
    rows = truth.rows[probe]
    hits = HitColumns(truth.similarities[probe], owners[rows], rows).hits()
    chosen = distinct_products(hits, k, order, exhausted=truth.whole)
    if chosen is None or len(chosen) < k:
        return []
    products = [hit.product for hit in chosen]
    near = [hit.product for hit in hits if hit.similarity >= chosen[-1].similarity - SAME]
    others = [product for product in dict.fromkeys(near) if product not in products]
    return [*products, *others[:EQUALS]]


def table_of(probes: Probes) -> pa.Table:
    """The probes as a table of N rows, for `probes_in`."""
    columns = {QUERIES: probes.queries, ANSWERS: probes.answers}
    lists = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), max(1, values.shape[1]))
        for name, values in columns.items()
    }
    return pa.table(lists, metadata={K: str(probes.k)})


def probes_in(table: pa.Table) -> Probes:
    """The reverse of `table_of`; the arrays stay where those of `table` are."""
    if not table.num_rows:
        return NO_PROBES
    queries, answers = (single(table[name]).flatten().to_numpy() for name in (QUERIES, ANSWERS))
    rows = table.num_rows
    return Probes(queries.reshape(rows, -1), answers.reshape(rows, -1), int(table.schema.metadata[K.encode()]))
