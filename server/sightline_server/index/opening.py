"""A catalog's folder -> a checked snapshot, built next to those that are served.

Rule: reading, building and checking run in a separate thread; the device thread does only what no other
thread may do: on a GPU its copies, on every device the adoption of the finished index.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline_server.domain.embedders import Embedders
from sightline_server.domain.probes import Probes
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adapter import Adapter
from sightline_server.index.catalog import open_catalog
from sightline_server.index.choice.choosing import DEFAULT_POLICY, IndexPolicy, index_of
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.faiss_index import FaissIndex, library_facts
from sightline_server.index.filters.columns import FilterColumns
from sightline_server.index.filters.probe import applies_selectors, selector_text
from sightline_server.index.held_content import HeldContent
from sightline_server.index.probes import MOST_MERGED, catalog_probes, probes_of
from sightline_server.index.selfcheck import recall
from sightline_server.index.snapshot import CatalogSnapshot
from sightline_server.index.vectors import Search, VectorIndex, VectorRows

logger = logging.getLogger(__name__)

LEAST_RECALL = 0.95


async def open_snapshot(
    path: Path, name: str, embedders: Embedders, device: DeviceThread, policy: IndexPolicy = DEFAULT_POLICY
) -> CatalogSnapshot:
    """Opens the catalog at `path` under `name`, builds its index on `device` by `policy` and checks it.

    Raises `SightlineError` of kind CONFIGURATION when none of `embedders` made the catalog, or
    INDEX_UNAVAILABLE when the index does not find what the catalog holds.
    """
    return await asyncio.to_thread(build_snapshot, path, name, embedders, device, policy)


def build_snapshot(
    path: Path,
    name: str,
    embedders: Embedders,
    device: DeviceThread,
    policy: IndexPolicy = DEFAULT_POLICY,
    *,
    may_be_empty: bool = False,
    number: int | None = None,
    held: Callable[[], HeldContent] | None = None,
    selects: bool | None = None,
) -> CatalogSnapshot:
    """`open_snapshot`, blocking; not for the device's own thread.

    With `may_be_empty`, for a catalog that is written to, it may have no products, and the snapshot has no probes until
    its `make_probes` has made them. With `number`, it is of that kept revision. With `held`, it may be of this content
    in memory, which was read and checked before: where it is searched exactly on the CPU. Nothing is read then.
    `selects` says whether an exact index on the CPU was seen to apply selectors; such an index is not asked again.
    """
    if held is not None and library_facts().gpus == 0 and policy.is_exact((content := held()).vectors):
        return snapshot_of(name, content, device, selects)
    catalog = open_catalog(path, embedders, may_be_empty=may_be_empty, number=number)
    if not len(catalog.vectors):
        nothing = FaissIndex(catalog.rows, use_gpu=False)
        device.call(nothing.adopt)
        return CatalogSnapshot(name, catalog, nothing, device)
    use_gpu = library_facts().gpus > 0
    chosen = index_of(name, catalog, policy, use_gpu=use_gpu, run=device.call)
    index = chosen.index
    reachable = OnDevice(index, device) if use_gpu else index
    found = checked(name, reachable, catalog.rows, catalog.adapter)
    if selects is None or use_gpu or not index.exact:
        selects = applies_selectors(reachable, catalog.rows)
    device.call(index.adopt)
    logger.info(
        "catalog %s: revision %s, %d products; %s; self-check recall@10 %.3f; %s",
        *(name, catalog.revision, catalog.facts.products, index.description, found, selector_text(selects)),
    )
    columns = FilterColumns.of(catalog.display, catalog.prices)
    snapshot = CatalogSnapshot(
        *(name, catalog, index, device),
        columns=columns,
        selects=selects,
        limits=chosen.limits,
        self_check_recall=found,
        probing=partial(catalog_probes, catalog),
    )
    if not may_be_empty:
        snapshot.make_probes()
    return snapshot


def snapshot_of(name: str, held: HeldContent, device: DeviceThread, selects: bool | None = None) -> CatalogSnapshot:
    """The snapshot of content in memory, with an exact index on the CPU, which is checked as every index.

    `selects` is as in `build_snapshot`.
    """
    catalog, vectors = held.catalog, held.vectors
    held.pause()
    index = FaissIndex(vectors, use_gpu=False)
    found = 1.0
    held.pause()
    if len(vectors):
        found = checked(name, index, vectors)
        selects = applies_selectors(index, vectors) if selects is None else selects
    device.call(index.adopt)
    logger.info(
        "catalog %s: revision %s, %d products, from memory; %s; self-check recall@10 %.3f",
        *(name, catalog.revision, catalog.facts.products, index.description, found),
    )
    ids = catalog.display["id"]

    def probing(pause: Callable[[], None]) -> Probes:
        return probes_of(catalog.revision, vectors, catalog.owners, ids, most=MOST_MERGED, pause=pause)

    held.pause()
    return CatalogSnapshot(
        *(name, catalog, index, device),
        selects=bool(selects),
        self_check_recall=found,
        probing=probing if len(vectors) else None,
    )


def log_library() -> None:
    """Logs which vector library this process has, and what that cannot do."""
    library = library_facts()
    logger.info("%s; it cannot: %s", library, "; ".join(library.cannot))


def checked(name: str, index: VectorIndex, vectors: VectorRows, adapter: Adapter | None = None) -> float:
    """The self-check's recall; `adapter` has made `vectors`, where it is given.

    Raises `SightlineError`, and closes the index, when the recall is too low.
    """
    found = recall(index, vectors, adapter)
    if found < LEAST_RECALL:
        index.close()
        message = (
            f"the self-check of catalog {name} failed: its index finds {found:.0%} of the nearest products that exact "
            f"search finds, expected at least {LEAST_RECALL:.0%}"
        )
        raise SightlineError(ErrorKind.INDEX_UNAVAILABLE, message)
    return found


class OnDevice:
    """An index that another thread owns, searched from this one."""

    def __init__(self, index: VectorIndex, device: DeviceThread) -> None:
        self._index = index
        self._device = device
        self.description, self.exact, self.max_k = index.description, index.exact, index.max_k
        self.memory_bytes = index.memory_bytes

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `VectorIndex`."""
        return self._device.call(lambda: self._index.search(queries, k))

    def search_allowed(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """See `VectorIndex`."""
        return self._device.call(lambda: self._index.search_allowed(queries, k, allowed))

    def subset(self, rows: NDArray[np.integer[Any]]) -> Search:
        """See `VectorIndex`; the search is for the device's thread."""
        return self._device.call(lambda: self._index.subset(rows))

    def adopt(self) -> None:
        """Leaves the index to its owner."""

    def close(self) -> None:
        """Frees the vectors."""
        self._device.call(self._index.close)
