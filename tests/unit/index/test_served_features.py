"""Local features as searches read them: of every way in which a catalog is opened, and of what is written since."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightline_server.catalog.originals import Originals
from sightline_server.catalog.originals_file import FEATURE_FILES
from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.feature_bytes import encode
from sightline_server.domain.filters import Filter
from sightline_server.domain.geometry import Box
from sightline_server.domain.image import Frame
from sightline_server.domain.local_features import LocalFeatures
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.live.index import LiveIndex
from sightline_server.index.living import LivingCatalog
from sightline_server.index.opening import build_snapshot
from sightline_server.index.shared import open_shared, share_catalog
from sightline_server.index.writer import CatalogWriter
from sightline_server.ports import Snapshot
from sightline_server.stages.local_features.describing import features_of
from tests.support.catalogs import BUILT, SPEC, row, unit_vectors, write_catalog
from tests.support.pictures import blocks


@pytest.fixture
def device() -> Iterator[DeviceThread]:
    thread = DeviceThread()
    yield thread
    thread.close()


def features(seed: int) -> LocalFeatures:
    return features_of(Frame(blocks(seed)), Box.whole())


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A built catalog: p1 has two images with features, p2 one without."""
    with CatalogWriter(tmp_path / "shop", SPEC, replace=False, local_features=True) as writer:
        files = tuple(writer.features.add(encode(features(seed))) for seed in (1, 2))
        writer.add([replace(row("p1", unit_vectors(2)), features=files), row("p2", unit_vectors(1, 3))])
        writer.publish(BUILT)
    return tmp_path / "shop"


async def seeds(snapshot: Snapshot) -> dict[str, int]:
    """By product, the seed of the image whose features its nearest image has; 0 without any."""
    kept = snapshot.local_features
    assert kept is not None
    (near,) = await snapshot.nearest(unit_vectors(1), 10)
    links = snapshot.image_links([each.image for each in near])
    found = kept.of([(each.product_id, link) for each, link in zip(near, links, strict=True)])
    known = {encode(features(seed)): seed for seed in range(1, 5)}
    return {each.product_id: 0 if had is None else known[encode(had)] for each, had in zip(near, found, strict=True)}


async def test_every_snapshot_of_a_catalog_has_its_features(shop: Path, device: DeviceThread) -> None:
    built = build_snapshot(shop, "shop", SPEC, device)
    assert await seeds(built) == {"p1": 1, "p2": 0}
    some = await built.select(Filter(product_ids=("p1",)))
    assert await seeds(some) == {"p1": 1}
    await built.close()
    shared = await share_catalog(shop, "shop", SPEC)
    mapped = await open_shared(shared, device, sharers=1)
    assert await seeds(mapped) == {"p1": 1, "p2": 0}
    await mapped.close()
    shared.close()


async def test_features_that_are_written_are_in_the_next_search(shop: Path, device: DeviceThread) -> None:
    index = LiveIndex(shop, "shop", SPEC, device)
    with LivingCatalog(shop, store=CatalogStore(shop, published=index)) as living:
        index.open()
        assert await seeds(index.view()) == {"p1": 1, "p2": 0}
        file = living.features.add(encode(features(3)))
        living.upsert([replace(row("p2", unit_vectors(1, 5)), features=(file,)), row("p3", unit_vectors(1, 6))])
        assert await seeds(index.view()) == {"p1": 1, "p2": 3, "p3": 0}
        living.checkpoint()
        assert await seeds(index.view()) == {"p1": 1, "p2": 3, "p3": 0}
        index.close()
    await index.view().close()


async def test_a_catalog_without_features_has_none(tmp_path: Path, device: DeviceThread) -> None:
    write_catalog(tmp_path / "plain", [row("p", unit_vectors(1))])
    snapshot = build_snapshot(tmp_path / "plain", "plain", SPEC, device)
    assert snapshot.local_features is None
    await snapshot.close()


async def test_damaged_features_count_as_none_and_a_damaged_file_is_an_error(shop: Path, device: DeviceThread) -> None:
    snapshot = build_snapshot(shop, "shop", SPEC, device)
    for damaged in ("zeroblob(9)", "'a text'", "CAST(x'ff00' AS TEXT)", "7"):
        store = Originals(shop, FEATURE_FILES)
        store._connection.execute(f"UPDATE contents SET content = {damaged}")
        store.close()
        assert await seeds(snapshot) == {"p1": 0, "p2": 0}
    (shop / FEATURE_FILES.file).write_bytes(b"nothing that SQLite reads" * 100)
    assert snapshot.local_features is not None
    with pytest.raises(SightlineError, match="no local features are kept then") as raised:
        snapshot.local_features.of([("p1", "x")])
    assert raised.value.kind is ErrorKind.CONFIGURATION
    (shop / FEATURE_FILES.file).unlink()
    with pytest.raises(SightlineError):
        snapshot.local_features.of([("p1", "x")])
    assert not (shop / FEATURE_FILES.file).exists()
    await snapshot.close()


def test_the_features_of_these_tests_differ() -> None:
    assert not np.array_equal(features(1).descriptors[:20], features(2).descriptors[:20])
