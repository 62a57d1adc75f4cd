"""Every backend of `ports.Snapshot`, behind one way of making revisions: what the contract suite runs on."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.catalog_rows import CatalogRow
from sightline_server.domain.catalogs import Capability
from sightline_server.index.catalog import open_catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.filters.columns import FilterColumns
from sightline_server.index.filters.planner import PlanLimits
from sightline_server.index.filters.probe import applies_selectors
from sightline_server.index.live.index import LiveIndex
from sightline_server.index.living import LivingCatalog
from sightline_server.index.milvus.client import Milvus
from sightline_server.index.milvus.opening import open_collection
from sightline_server.index.milvus.pushing import push
from sightline_server.index.milvus.snapshot import MilvusSnapshot
from sightline_server.index.opened_catalog import Catalog
from sightline_server.index.snapshot import CatalogSnapshot
from sightline_server.ports import Snapshot
from tests.support.catalogs import SPEC, write_catalog
from tests.support.index_kinds import KINDS
from tests.support.reference_snapshot import EVERYTHING, ReferenceSnapshot

LEAST_VECTORS = 4
"""Fewer than the lists of IVF cannot train it; the server compares all vectors of a small catalog anyway."""
PUSHES = 8
"""To Milvus at the same time."""
PUSH_S = 240.0


class Backend(Protocol):
    """Makes revisions of one catalog. Earlier ones stay valid until `close`."""

    @property
    def exact(self) -> bool:
        """True if it finds what comparing every vector finds."""

    def revision(self, rows: Sequence[CatalogRow]) -> Snapshot:
        """A new revision that has these products and no other; blocking. Ids are unique."""

    def close(self) -> None:
        """Frees every revision."""


class Reference:
    """Plain numpy."""

    exact = True

    def __init__(self, capabilities: frozenset[Capability] = EVERYTHING) -> None:
        self._capabilities = capabilities
        self._made = 0

    def revision(self, rows: Sequence[CatalogRow]) -> Snapshot:
        """See `Backend`."""
        self._made += 1
        return ReferenceSnapshot(rows, f"{self._made}", self._capabilities)

    def close(self) -> None:
        """Nothing to free."""


class Faiss:
    """A catalog's folder for each revision, and an index of `kind` over it, with or without copies of matches."""

    def __init__(self, folder: Path, kind: str, limits: PlanLimits) -> None:
        self.exact = KINDS[kind][2]
        self._folder, self._kind, self._limits = folder, kind, limits
        self._device = DeviceThread()
        self._made: list[CatalogSnapshot] = []

    def revision(self, rows: Sequence[CatalogRow]) -> Snapshot:
        """See `Backend`."""
        path = self._folder / f"{len(self._made)}"
        write_catalog(path, rows)
        catalog = open_catalog(path, SPEC)
        folder = self._folder / f"index-{len(self._made)}"
        folder.mkdir()
        made = self._snapshot(catalog, folder)
        self._made.append(made)
        return made

    def _snapshot(self, catalog: Catalog, folder: Path) -> CatalogSnapshot:
        vectors = catalog.vectors.astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        kind = self._kind if len(vectors) >= LEAST_VECTORS else "flat"
        index = KINDS[kind][0](vectors, folder)
        selects = applies_selectors(index, catalog.vectors)
        self._device.call(index.adopt)
        columns = FilterColumns.of(catalog.display, catalog.prices)
        return CatalogSnapshot(
            *("shop", catalog, index, self._device), columns=columns, selects=selects, limits=self._limits
        )

    def close(self) -> None:
        """See `Backend`."""
        for each in self._made:
            self._device.call(each.index.close)
        self._device.close()


class Living:
    """One catalog that is written to while it is searched: each revision is the view after upserts and deletes."""

    exact = True

    def __init__(self, folder: Path) -> None:
        self._path = folder / "living"
        self._device = DeviceThread()
        self._present: dict[str, CatalogRow] = {}
        self._live: LiveIndex | None = None
        self._catalog: LivingCatalog

    def revision(self, rows: Sequence[CatalogRow]) -> Snapshot:
        """See `Backend`."""
        wanted = {row.product.id: row for row in rows}
        if self._live is None:
            self._open(rows)
        else:
            changed = [row for row in rows if self._present.get(row.product.id) is not row]
            gone = [row_id for row_id in self._present if row_id not in wanted]
            if changed:
                self._catalog.upsert(changed)
            if gone:
                self._catalog.delete(gone)
        self._present = wanted
        assert self._live is not None
        return self._live.view()

    def _open(self, rows: Sequence[CatalogRow]) -> None:
        write_catalog(self._path, rows)
        self._live = LiveIndex(self._path, "shop", SPEC, self._device)
        self._catalog = LivingCatalog(self._path, store=CatalogStore(self._path, published=self._live))
        self._catalog.__enter__()
        self._live.open()

    def close(self) -> None:
        """See `Backend`."""
        if self._live is not None:
            self._live.close()
            self._catalog.__exit__(None, None, None)
        self._device.close()


def faiss(kind: str, *, gather_bytes: int = PlanLimits().gather_bytes) -> Callable[[Path], Backend]:
    """A maker of FAISS's index `kind`; with `gather_bytes` 0, a filter is left to the index."""
    return lambda folder: Faiss(folder, kind, PlanLimits(gather_bytes=gather_bytes))


class PushedCatalogs:
    """Catalogs in one Milvus for the whole session: equal ones are pushed once, and several at the same time.

    A push takes seconds in which Milvus waits for itself, so those that tests will need are begun before.
    """

    def __init__(self, folder: Path, uri: str) -> None:
        self._folder = folder
        self._milvus = Milvus(uri, call_s=60.0)
        self._threads = ThreadPoolExecutor(PUSHES, thread_name_prefix="pushes")
        self._opened: dict[str, Future[MilvusSnapshot]] = {}
        self._made = 0

    def push(self, rows: Sequence[CatalogRow]) -> Future[MilvusSnapshot]:
        """The snapshot of a catalog of these products, once it is there. For one thread."""
        self._made += 1
        path = self._folder / f"{self._made}"
        digest = write_catalog(path, rows).content_sha256
        if digest not in self._opened:
            self._opened[digest] = self._threads.submit(self._push, path, f"contract-{digest}")
        return self._opened[digest]

    def _push(self, path: Path, name: str) -> MilvusSnapshot:
        push(open_catalog(path, SPEC), name, self._milvus)
        snapshot = open_collection(self._milvus, name, SPEC)
        snapshot.name = "shop"
        return snapshot

    def close(self) -> None:
        """Leaves out pushes that have not begun, and waits for the others."""
        self._threads.shutdown(cancel_futures=True)
        self._milvus.close()


class InMilvus:
    """Each revision is a catalog of the session's Milvus, which stays there."""

    exact = True

    def __init__(self, catalogs: PushedCatalogs) -> None:
        self._catalogs = catalogs

    def revision(self, rows: Sequence[CatalogRow]) -> Snapshot:
        """See `Backend`."""
        return self._catalogs.push(rows).result(PUSH_S)

    def close(self) -> None:
        """Nothing to free: other tests search the same."""


BACKENDS: dict[str, Callable[[Path], Backend]] = {
    "reference": lambda _folder: Reference(),
    "FAISS flat": faiss("flat"),
    "FAISS flat, selectors": faiss("flat", gather_bytes=0),
    "FAISS flat, mapped": faiss("mapped"),
    "FAISS without selectors": faiss("ignores selectors", gather_bytes=0),
    "FAISS IVF": faiss("IVF"),
    "FAISS IVF, selectors": faiss("IVF", gather_bytes=0),
    "FAISS HNSW": faiss("HNSW"),
    "FAISS HNSW, selectors": faiss("HNSW", gather_bytes=0),
    "living": Living,
}
"""Name -> maker of a backend whose files are in a folder of the test."""
MILVUS = "Milvus"
"""The backend that needs the session's Milvus server."""
