"""One revision of a catalog, ready to be searched: vectors in FAISS, products in Arrow.

Rule: everything that touches the index runs on its one owner thread, in the order in which it was asked.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.items import Neighbour, Product
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import Catalog, open_catalog
from sightline_server.index.faiss_index import FaissIndex, library_facts
from sightline_server.index.groups import distinct_groups, first_attempt_for_groups
from sightline_server.index.neighbours import Hit, HitColumns, distinct_products, first_attempt
from sightline_server.index.products import ProductTable
from sightline_server.index.selfcheck import recall
from sightline_server.index.vectors import VectorIndex, Vectors

logger = logging.getLogger(__name__)

LEAST_RECALL = 0.95
WIDENING = 4
CALL_HITS = 4_000_000
"""Hits that one call of the index returns at most, 48 MB of them, unless one query alone asks for more."""

ValueT = TypeVar("ValueT")


async def open_index(path: Path, name: str, embedder: EmbedderSpec) -> "ServedCatalog":
    """Opens the catalog at `path` under `name`, builds its index and checks it.

    Raises `SightlineError` of kind CONFIGURATION when the catalog cannot be served with `embedder`, or
    INDEX_UNAVAILABLE when the index does not find what the catalog holds.
    """
    owner = ThreadPoolExecutor(1, thread_name_prefix=f"index-{name}")
    try:
        return await asyncio.get_running_loop().run_in_executor(owner, load, path, name, embedder, owner)
    except BaseException:
        owner.shutdown(wait=False)
        raise


def load(path: Path, name: str, embedder: EmbedderSpec, owner: Executor) -> "ServedCatalog":
    """The part of `open_index` that runs on the owner thread."""
    catalog = open_catalog(path, embedder)
    library = library_facts()
    index = FaissIndex(catalog.vectors, use_gpu=library.gpus > 0)
    found = checked(name, index, catalog.vectors)
    logger.info("%s; it cannot: %s", library, "; ".join(library.cannot))
    logger.info(
        "catalog %s: revision %s, %d products; %s; self-check recall@10 %.3f",
        *(name, catalog.revision, catalog.facts.products, index.description, found),
    )
    return ServedCatalog(name, catalog, index, owner, self_check_recall=found)


def checked(name: str, index: VectorIndex, vectors: Vectors) -> float:
    """The self-check's recall. Raises `SightlineError`, and closes the index, when that is too low."""
    found = recall(index, vectors)
    if found < LEAST_RECALL:
        index.close()
        message = f"the index of catalog {name} finds only {found:.0%} of what it should"
        raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, message)
    return found


class ServedCatalog:
    """`ports.ProductIndex` over one opened catalog. `index` belongs to the only thread of `owner`."""

    def __init__(
        self, name: str, catalog: Catalog, index: VectorIndex, owner: Executor, *, self_check_recall: float = 1.0
    ) -> None:
        self.name = name
        self.revision = catalog.revision
        self.dimension = catalog.facts.embedder.dimension
        self.products = catalog.facts.products
        self.built_at = catalog.facts.built_at
        self.self_check_recall = self_check_recall
        self._index = index
        self._owner = owner
        self._table = ProductTable(catalog.display)
        self._image_links = catalog.image_links
        self._owners = catalog.owners
        self._max_images = catalog.facts.max_images
        self._closed = False

    async def search(
        self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool] | None = None
    ) -> list[list[Neighbour]]:
        """See `ports.ProductIndex`."""
        grouped = [False] * len(queries) if by_group is None else by_group
        if queries.ndim != 2 or queries.shape[1] != self.dimension or k < 1 or len(grouped) != len(queries):
            raise SightlineError(ErrorKind.INTERNAL, "a query does not fit the index")
        return await self._on_owner(lambda: self._search(queries, k, grouped))

    async def close(self) -> None:
        """Waits for the search that runs, then frees the vectors. Later searches are refused."""
        if not self._closed:
            await self._on_owner(self._index.close)
            self._closed = True
            self._owner.shutdown(wait=False)

    async def _on_owner(self, work: Callable[[], ValueT]) -> ValueT:
        if self._closed:
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, "the index is closed", retry_after_s=1.0)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._owner, work)
        except SightlineError:
            raise
        except Exception as error:  # the vector library raises whatever its device meets
            raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, "the index failed", retry_after_s=1.0) from error

    def _search(self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool]) -> list[list[Neighbour]]:
        return self._neighbours(self._nearest(queries, k, by_group))

    def _nearest(self, queries: NDArray[np.float32], k: int, by_group: Sequence[bool]) -> list[list[Hit]]:
        """The nearest products of each query; asks again for more vectors where the first ones do not settle it."""
        settled: dict[int, list[Hit]] = {}
        open_queries = list(range(len(queries)))
        first = max(first_attempt(k, self._max_images), first_attempt_for_groups(k) if any(by_group) else 0)
        count = min(first, self._index.max_k)
        while open_queries:
            exhausted = count >= self._index.max_k
            for query, hits in self._hits(queries, open_queries, count):
                if by_group[query]:
                    chosen = distinct_groups(hits, self._table.groups[hits.products], k, exhausted=exhausted)
                else:
                    chosen = distinct_products(hits.hits(), k, exhausted=exhausted)
                if chosen is not None:
                    settled[query] = chosen
            open_queries = [query for query in open_queries if query not in settled]
            count = min(count * WIDENING, self._index.max_k)
        return [settled[query] for query in range(len(queries))]

    def _hits(self, queries: NDArray[np.float32], asked: Sequence[int], count: int) -> Iterator[tuple[int, HitColumns]]:
        """The `count` nearest vectors of the queries `asked`, in calls that the memory has room for."""
        together = max(1, CALL_HITS // count)
        for start in range(0, len(asked), together):
            part = asked[start : start + together]
            similarities, vectors = self._index.search(queries[part], count)
            products = self._owners[vectors]
            hits = HitColumns(np.clip(similarities, -1.0, 1.0), products, self._table.id_ranks[products], vectors)
            for place, valid in enumerate((vectors >= 0).sum(axis=1).tolist()):
                yield part[place], hits.of_query(place, valid)

    def _neighbours(self, nearest: Sequence[Sequence[Hit]]) -> list[list[Neighbour]]:
        rows = sorted({hit.product for hits in nearest for hit in hits})
        products: dict[int, Product] = dict(zip(rows, self._table.take(rows), strict=True))
        links = iter(self._image_links.take([hit.vector for hits in nearest for hit in hits]).to_pylist())
        return [[Neighbour(products[hit.product], hit.similarity, next(links)) for hit in hits] for hits in nearest]
