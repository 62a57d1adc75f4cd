"""The figures of a living catalog: what its files take, and what is not yet in its base."""

from datetime import datetime
from pathlib import Path

import pytest

from sightline_server.catalog.disk_use import disk_use, size_of
from sightline_server.domain.living import LiveSizes
from sightline_server.index.living import LivingCatalog
from sightline_server.index.living_figures import figures_of
from tests.support.catalogs import row, unit_vectors, write_catalog

SIZES = LiveSizes(10, 11, 12, 13, 14, 15, 16)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write_catalog(tmp_path / "shop", [row(f"p{n}", unit_vectors(1, n)) for n in range(5)])
    return tmp_path / "shop"


def bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_figures_follow_writes_and_checkpoints(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        first = figures_of(shop, living.store, SIZES)
        built = datetime.fromisoformat(living.store.revisions[0].created_at)
        assert first.log_operations == 0
        assert first.base_versions >= 1
        assert first.last_checkpoint_at == built.timestamp()
        living.upsert([row(f"new{n}", unit_vectors(2, 10 + n)) for n in range(3)])
        living.delete(["p1"])
        written = figures_of(shop, living.store, SIZES)
        assert written.log_operations == 4
        assert written.log_bytes > first.log_bytes
        assert (written.base_bytes, written.base_versions) == (first.base_bytes, first.base_versions)
        revision = living.checkpoint()
        merged = figures_of(shop, living.store, SIZES)
        assert merged.log_operations == 0
        assert merged.base_bytes > first.base_bytes
        assert merged.base_versions > first.base_versions
        assert merged.last_checkpoint_at == datetime.fromisoformat(revision.created_at).timestamp()


def test_bytes_are_those_of_the_files(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        living.delete(["p1"])
        living.checkpoint()
        use = disk_use(shop)
        assert use.base_bytes == bytes_below(shop / "base.lance")
        assert use.log_bytes == sum(path.stat().st_size for path in shop.glob("log.sqlite*"))
        assert use.free_bytes > 0


def test_sizes_of_the_index_are_passed_on(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        shown = figures_of(shop, living.store, SIZES)
    assert shown.products == 10
    assert (shown.base_images, shown.delta_images, shown.merge_at_images, shown.dead_images) == (11, 12, 13, 14)
    assert (shown.base_memory_bytes, shown.delta_memory_bytes) == (15, 16)


def test_file_that_is_gone_counts_nothing_and_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    assert size_of(tmp_path / "gone") == 0
    empty = disk_use(tmp_path)
    assert (empty.log_bytes, empty.base_bytes, empty.base_versions) == (0, 0, 0)
    with pytest.raises(OSError, match="gone"):
        disk_use(tmp_path / "gone")
