"""One checked catalog in memory that several processes map: made by the parent, opened by each worker.

    share_catalog (parent)  Lance -> checked -> index -> files in memory: vectors, products, images, filters, probes
    open_shared (worker)    the files, mapped -> CatalogSnapshot
Rule: the files are anonymous (memfd): they have no name that could stay behind, cost their size once however many map
them, and every worker of one parent serves the same revision, also one that is started later.
"""

import asyncio
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from sightline_server.domain.embedders import Embedders
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adaptation import Adaptation, decode, encode
from sightline_server.index.adapter import ReadyRows
from sightline_server.index.catalog import open_catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.faiss_index import FaissIndex, MappedIndex, can_map, library_facts
from sightline_server.index.filters.columns import FilterColumns
from sightline_server.index.filters.probe import applies_selectors
from sightline_server.index.opened_catalog import Catalog
from sightline_server.index.opening import OnDevice, checked
from sightline_server.index.probes import catalog_probes, probes_in, table_of
from sightline_server.index.products import single
from sightline_server.index.schema import DISPLAY_COLUMNS, PRICE_COLUMNS, CatalogFacts
from sightline_server.index.snapshot import CatalogSnapshot
from sightline_server.index.vectors import VectorIndex

logger = logging.getLogger(__name__)

FILES = ("vectors", "products", "pictures", "filters", "probes", "adapter")
OWNERS, IMAGE_LINKS = "owners", "image_links"


@dataclass(frozen=True, slots=True)
class SharedCatalog:
    """Descriptors of the six files, valid in every process that inherited them, and what else a worker must know."""

    name: str
    revision: str
    path: str
    recall: float
    vectors: int
    """FAISS's own format, float32."""
    products: int
    """Arrow: the display columns and prices, P rows, with the catalog's facts as metadata."""
    pictures: int
    """Arrow: the product row and the link of each vector, V rows."""
    filters: int
    """Arrow: the columns that filters read, as `FilterColumns.to_table` lays them out."""
    probes: int
    """Arrow: the probes and their exact answers, N rows, which the parent computes once for all workers."""
    adapter: int
    """The bytes of the catalog's adapter, weights and verdict; none where it has none."""
    built_at: str = ""
    """The build time of the revision, in ISO 8601."""

    @property
    def descriptors(self) -> tuple[int, int, int, int, int, int]:
        """The descriptors that a worker must inherit."""
        return self.vectors, self.products, self.pictures, self.filters, self.probes, self.adapter

    def facts(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)

    @classmethod
    def parse(cls, facts: dict[str, Any]) -> Self:
        """The reverse of `facts`."""
        return cls(**facts)

    def close(self) -> None:
        """Closes the files; their memory is freed when the last process that maps them has ended."""
        for descriptor in self.descriptors:
            os.close(descriptor)


async def share_catalog(path: Path, name: str, embedders: Embedders) -> SharedCatalog:
    """Opens and checks the catalog at `path` as `open_snapshot` does, and lays it out for workers. Errors as there."""
    return await asyncio.to_thread(share, path, name, embedders)


def share(path: Path, name: str, embedders: Embedders) -> SharedCatalog:
    """`share_catalog`, blocking."""
    if not can_map():
        raise SightlineError(ErrorKind.CONFIGURATION, "workers share one index, which takes FAISS 1.11 or newer")
    catalog = open_catalog(path, embedders)
    files = memory_files(*FILES)
    vectors, products, pictures, filters, probes, adapter = files
    try:
        built = FaissIndex(catalog.rows, use_gpu=False)
        built.write(place_of(vectors))
        built.close()
        write_table(products, with_prices(catalog))
        write_table(filters, FilterColumns.of(catalog.display, catalog.prices).to_table())
        write_table(pictures, pa.table({OWNERS: catalog.owners, IMAGE_LINKS: catalog.image_links}))
        write_table(probes, table_of(catalog_probes(catalog)))
        place_of(adapter).write_bytes(encode(Adaptation(catalog.adapter, catalog.weights, catalog.verdict)))
        # What is checked is what the workers map, not what was built.
        mapped = MappedIndex(place_of(vectors), sharers=1)
        found = checked(name, mapped, catalog.rows, catalog.adapter)
        logger.info(
            "catalog %s: revision %s, %d products; %s; shared by the workers; self-check recall@10 %.3f",
            *(name, catalog.revision, catalog.facts.products, mapped.description, found),
        )
        mapped.close()
    except BaseException:
        for descriptor in files:
            os.close(descriptor)
        raise
    facts = {"revision": catalog.revision, "recall": found, "built_at": catalog.facts.built_at}
    return SharedCatalog.parse({"name": name, "path": str(path), **facts, **dict(zip(FILES, files, strict=True))})


def memory_files(*names: str) -> list[int]:
    """Descriptors of new anonymous files. Raises `SightlineError` where no more files may be open."""
    files: list[int] = []
    try:
        files.extend(os.memfd_create(f"sightline-{name}") for name in names)
    except OSError as error:
        for descriptor in files:
            os.close(descriptor)
        raise SightlineError(
            ErrorKind.CONFIGURATION,
            f"the catalog cannot be shared by workers: {error.strerror}; it takes {len(names)} file descriptors of the "
            "parent: raise `ulimit -n` (systemd: LimitNOFILE)",
        ) from error
    return files


async def open_shared(shared: SharedCatalog, device: DeviceThread, *, sharers: int) -> CatalogSnapshot:
    """The catalog of `shared`, whose descriptors this process has inherited; `sharers` workers search in it.

    With a GPU the vectors are copied to it once more for each worker: FAISS shares no memory of a GPU.
    """
    return await asyncio.to_thread(map_shared, shared, device, sharers)


def map_shared(shared: SharedCatalog, device: DeviceThread, sharers: int) -> CatalogSnapshot:
    """`open_shared`, blocking; not for the device's own thread."""
    rows, pictures = read_table(shared.products), read_table(shared.pictures)
    facts, content = CatalogFacts.parse(rows.schema.metadata), place_of(shared.adapter).read_bytes()
    adaptation = decode(content, facts.embedder.dimension)
    adapter = adaptation.adapter
    mapped = MappedIndex(place_of(shared.vectors), sharers=sharers)
    index: VectorIndex = mapped
    found, vectors = shared.recall, mapped.vectors()
    if library_facts().gpus > 0:
        # Adapted vectors are not of length 1, and stay as they are.
        as_mapped = vectors if adapter is None else ReadyRows(vectors)
        index = FaissIndex(as_mapped, use_gpu=True, sharers=sharers, run=device.call)
        found = checked(shared.name, OnDevice(index, device), vectors, adapter)
        selects = applies_selectors(OnDevice(index, device), vectors)
        mapped.close()
    else:
        selects = applies_selectors(mapped, vectors)
    device.call(index.adopt)
    catalog = Catalog(
        path=Path(shared.path),
        revision=shared.revision,
        facts=facts,
        display=rows.select(list(DISPLAY_COLUMNS)),
        prices=rows.select(list(PRICE_COLUMNS)),
        image_links=single(pictures[IMAGE_LINKS]),
        owners=single(pictures[OWNERS]).to_numpy(),
        vectors=np.empty((0, 0), np.float16),
        adapter=adapter,
        weights=adaptation.weights,
        verdict=adaptation.verdict,
    )
    logger.info("catalog %s: revision %s; %s", shared.name, shared.revision, index.description)
    columns = FilterColumns.from_table(read_table(shared.filters))
    probes = probes_in(read_table(shared.probes))
    return CatalogSnapshot(
        shared.name, catalog, index, device, columns=columns, selects=selects, self_check_recall=found, probes=probes
    )


def with_prices(catalog: Catalog) -> pa.Table:
    """The display columns and the prices as one table, with the catalog's facts as metadata."""
    table = catalog.display
    for name in PRICE_COLUMNS:
        table = table.append_column(name, catalog.prices[name])
    return table.replace_schema_metadata(catalog.facts.metadata())


def place_of(descriptor: int) -> Path:
    """The path by which this process opens an inherited file."""
    return Path(f"/proc/self/fd/{descriptor}")


def write_table(descriptor: int, table: pa.Table) -> None:
    """Writes `table` as one piece, in Arrow's file format, which is laid out as it is in memory."""
    with pa.OSFile(str(place_of(descriptor)), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def read_table(descriptor: int) -> pa.Table:
    """The table of `write_table`; its columns lie in the mapped file."""
    with pa.memory_map(str(place_of(descriptor))) as file:
        return pa.ipc.open_file(file).read_all()
