"""A shared catalog: another process maps it and finds what its own copy would find, in memory that is not its own."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.domain.filters import Filter
from sightline_server.errors import SightlineError
from sightline_server.index import faiss_index, shared
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import open_snapshot
from sightline_server.index.schema import CatalogRow
from sightline_server.index.shared import SharedCatalog, open_shared, share_catalog
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog

ROWS = [
    row(f"p{number:03}", unit_vectors(1 + number % 3, number), item_group_id=f"g{number % 20}" if number % 2 else "")
    for number in range(60)
]
GROUPED = [True, False, True, False, True, False]

WORKER = """
import asyncio, json, sys
import numpy as np
from sightline_server.domain.filters import Filter
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.shared import SharedCatalog, open_shared

async def main():
    index = await open_shared(SharedCatalog.parse(json.loads(sys.argv[1])), DeviceThread(), sharers=2)
    queries = np.array(json.loads(sys.stdin.read()), np.float32)
    selected = await index.select(Filter(brands=tuple(json.loads(sys.argv[2]))))
    found = await selected.nearest(queries, 5, [True, False] * 3)
    print(json.dumps([[[n.product_id, n.image, n.similarity] for n in neighbours] for neighbours in found]))
    await index.close()

asyncio.run(main())
"""


async def test_a_worker_finds_in_the_shared_catalog_what_it_finds_in_one_of_its_own(tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", ROWS)
    queries = unit_vectors(6, seed=77)
    own = await open_snapshot(tmp_path / "shop", "shop", SPEC, DeviceThread())
    expected = await own.nearest(queries, 5, GROUPED)
    assert all(len({one.group for one in found}) == 5 for found in expected[::2])
    catalog = await share_catalog(tmp_path / "shop", "shop", SPEC)
    assert (catalog.revision, catalog.recall) == (own.revision, 1.0)
    found = found_by_a_worker(catalog, queries)
    for ours, theirs in zip(expected, found, strict=True):
        assert [[one.product_id, one.image] for one in ours] == [one[:2] for one in theirs]
        assert [one.similarity for one in ours] == pytest.approx([one[2] for one in theirs], abs=1e-6)
    await own.close()
    catalog.close()


@pytest.mark.parametrize("brands", [["norrvik"], ["Nordhem", "norrvik"], ["Nowhere"]])
async def test_a_worker_filters_by_the_columns_that_it_maps(tmp_path: Path, brands: list[str]) -> None:
    rows = [
        CatalogRow(
            replace(each.product, brand=("Norrvik", "Nordhem", "")[place % 3]), None, each.images, each.embeddings
        )
        for place, each in enumerate(ROWS)
    ]
    write_catalog(tmp_path / "shop", rows)
    queries = unit_vectors(6, seed=77)
    own = await open_snapshot(tmp_path / "shop", "shop", SPEC, DeviceThread())
    expected = await (await own.select(Filter(brands=tuple(brands)))).nearest(queries, 5, GROUPED)
    assert all(bool(found) is (brands != ["Nowhere"]) for found in expected)
    catalog = await share_catalog(tmp_path / "shop", "shop", SPEC)
    found = found_by_a_worker(catalog, queries, brands)
    assert [[one.product_id for one in ours] for ours in expected] == [[one[0] for one in theirs] for theirs in found]
    await own.close()
    catalog.close()


def found_by_a_worker(catalog: SharedCatalog, queries: NDArray[np.float32], brands: Sequence[str] = ()) -> Any:
    """The answers of another process that inherited the catalog's files, under a filter where there are brands."""
    ran = subprocess.run(
        [sys.executable, "-c", WORKER, json.dumps(catalog.facts()), json.dumps(brands)],
        input=json.dumps(queries.tolist()),
        pass_fds=catalog.descriptors,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


async def test_what_is_served_says_what_the_catalog_said(tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", ROWS)
    own = await open_snapshot(tmp_path / "shop", "shop", SPEC, DeviceThread())
    catalog = await share_catalog(tmp_path / "shop", "shop", SPEC)
    opened = await open_shared(SharedCatalog.parse(catalog.facts()), DeviceThread(), sharers=1)
    for fact in ("name", "revision", "dimension", "product_count", "built_at", "embedder", "self_check_recall"):
        assert getattr(opened, fact) == getattr(own, fact)
    await opened.close()
    await own.close()
    catalog.close()


async def test_the_vectors_are_mapped_and_not_copied(tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", ROWS)
    catalog = await share_catalog(tmp_path / "shop", "shop", SPEC)
    index = faiss_index.MappedIndex(shared.place_of(catalog.vectors), sharers=1)
    address = index.vectors().__array_interface__["data"][0]
    assert "memfd:sightline-vectors" in mapping_of(address)
    assert np.allclose(np.linalg.norm(index.vectors(), axis=1), 1.0, atol=1e-6)
    index.close()
    catalog.close()


def mapping_of(address: int) -> str:
    """The line of this process's memory map that holds `address`."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(edge, 16) for edge in line.split()[0].split("-"))
        if start <= address < end:
            return line
    return ""


async def test_nothing_is_left_open_when_a_catalog_cannot_be_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalog(tmp_path / "shop", ROWS)
    monkeypatch.setattr("sightline_server.index.opening.recall", lambda *given: 0.5)
    before = memory_files()
    with pytest.raises(SightlineError, match="finds 50% of the nearest products"):
        await share_catalog(tmp_path / "shop", "shop", SPEC)
    assert memory_files() == before


async def test_too_few_descriptors_are_told_and_none_is_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalog(tmp_path / "shop", ROWS)
    make = os.memfd_create
    made: list[int] = []

    def few(name: str) -> int:
        if len(made) == 2:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        made.append(make(name))
        return made[-1]

    monkeypatch.setattr(os, "memfd_create", few)
    before = memory_files()
    with pytest.raises(SightlineError, match="Too many open files; it takes 6 file descriptors"):
        await share_catalog(tmp_path / "shop", "shop", SPEC)
    assert memory_files() == before


def memory_files() -> int:
    """Anonymous files of ours that this process has open."""
    links = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the descriptor of this very listing is gone by now
            links.append(os.readlink(f"/proc/self/fd/{name}"))
    return sum("memfd:sightline" in link for link in links)
