"""Catalogs with an adapter as they are served: exact, by every way of opening them, and while they are written."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline_server.catalog.store import CatalogStore
from sightline_server.domain.filters import Filter
from sightline_server.index.adapter import Adapter
from sightline_server.index.adapter_bytes import encode
from sightline_server.index.catalog import open_catalog
from sightline_server.index.choice.choosing import IndexPolicy
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.live.index import LiveIndex
from sightline_server.index.live.policy import MergePolicy
from sightline_server.index.living import LivingCatalog
from sightline_server.index.opening import open_snapshot
from sightline_server.index.shared import SharedCatalog, open_shared, share_catalog
from sightline_server.ingest.adapting.fitting import Method, fit
from sightline_server.ports import Snapshot
from tests.support.catalogs import row, write_catalog
from tests.support.shop_photos import PHOTO_SPEC, photographed_shop

SHOP = photographed_shop()
QUERIES = SHOP.photos[::7]
ADAPTERS = {
    method: replace(fit(SHOP.shop_photos(labelled=True), SHOP.shop_images(), method), scale=0.6) for method in Method
}


@pytest.fixture(params=list(Method))
def adapter(request: pytest.FixtureRequest) -> Adapter:
    return ADAPTERS[request.param]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    rows = [
        row(
            f"p{number:02}", vector[np.newaxis], brand=f"brand {number % 5}", gtin="4006381333931" if not number else ""
        )
        for number, vector in enumerate(SHOP.images)
    ]
    write_catalog(tmp_path / "shop", rows, PHOTO_SPEC)
    return tmp_path / "shop"


@pytest.fixture
def adapted(plain: Path, adapter: Adapter) -> Path:
    with LivingCatalog(plain) as living:
        living.store.adapt(encode(adapter))
    return plain


@pytest.fixture
def device() -> Iterator[DeviceThread]:
    thread = DeviceThread()
    yield thread
    thread.close()


def expected(path: Path, adapter: Adapter, k: int, kept: Any = None) -> list[list[tuple[str, float]]]:
    """The nearest products by a matrix product over what the catalog stores."""
    catalog = open_catalog(path)
    ids = catalog.display["id"].to_pylist()
    similarities = adapter.of_queries(QUERIES) @ adapter.of_images(catalog.vectors).T
    found = []
    for row_of_query in similarities:
        order = [place for place in np.argsort(-row_of_query, kind="stable") if kept is None or kept(ids[place])]
        found.append([(ids[catalog.owners[place]], float(row_of_query[place])) for place in order[:k]])
    return found


async def answers(snapshot: Snapshot, k: int = 5) -> list[list[tuple[str, float]]]:
    found = await snapshot.nearest(QUERIES, k)
    return [[(each.product_id, each.similarity) for each in near] for near in found]


def assert_same(found: list[list[tuple[str, float]]], wanted: list[list[tuple[str, float]]]) -> None:
    assert [[product for product, _ in near] for near in found] == [[product for product, _ in near] for near in wanted]
    for near, right in zip(found, wanted, strict=True):
        assert [similarity for _, similarity in near] == pytest.approx([each for _, each in right], abs=1e-5)


async def test_the_answers_are_those_of_the_adapter(adapted: Path, adapter: Adapter, device: DeviceThread) -> None:
    snapshot = await open_snapshot(adapted, "shop", PHOTO_SPEC, device)
    assert snapshot.self_check_recall == 1.0
    assert snapshot.dimension == PHOTO_SPEC.dimension
    assert_same(await answers(snapshot), expected(adapted, adapter, 5))
    await snapshot.close()


async def test_a_filter_and_a_code_are_searched_by_the_adapter(
    adapted: Path, adapter: Adapter, device: DeviceThread
) -> None:
    snapshot = await open_snapshot(adapted, "shop", PHOTO_SPEC, device)
    selected = await snapshot.select(Filter(brands=("brand 3",)))
    assert_same(await answers(selected), expected(adapted, adapter, 5, lambda each: int(each[1:]) % 5 == 3))
    coded = await snapshot.with_gtin(4006381333931)
    assert coded is not None
    assert_same(await answers(coded.snapshot), expected(adapted, adapter, 1, lambda each: each == "p00"))
    await snapshot.close()


async def test_a_catalog_without_an_adapter_is_searched_as_ever(plain: Path, device: DeviceThread) -> None:
    snapshot = await open_snapshot(plain, "shop", PHOTO_SPEC, device)
    assert snapshot.adapter is None
    vectors = open_catalog(plain).vectors.astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    best = (QUERIES @ vectors.T).argmax(axis=1)
    assert [near[0][0] for near in await answers(snapshot)] == [f"p{place:02}" for place in best]
    await snapshot.close()


async def test_the_probes_have_the_answers_of_the_adapter(adapted: Path, device: DeviceThread) -> None:
    snapshot = await open_snapshot(adapted, "shop", PHOTO_SPEC, device)
    probes = snapshot.probes
    assert len(probes) >= 16
    found = await snapshot.nearest(probes.queries, probes.k)
    rows = [[each.row for each in near] for near in found]
    assert probes.recall(range(len(probes)), rows) == 1.0
    await snapshot.close()


async def test_a_large_catalog_with_an_adapter_is_searched_exactly(
    adapted: Path, adapter: Adapter, device: DeviceThread, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        snapshot = await open_snapshot(adapted, "shop", PHOTO_SPEC, device, IndexPolicy(exact_bytes=1000))
    assert "exact search, because it has an adapter" in caplog.text
    assert_same(await answers(snapshot), expected(adapted, adapter, 5))
    await snapshot.close()


async def test_workers_search_by_the_adapter(adapted: Path, adapter: Adapter, device: DeviceThread) -> None:
    shared = await share_catalog(adapted, "shop", PHOTO_SPEC)
    opened = await open_shared(SharedCatalog.parse(shared.facts()), device, sharers=1)
    assert_same(await answers(opened), expected(adapted, adapter, 5))
    await opened.close()
    shared.close()


async def test_what_is_written_is_searched_by_the_adapter_as_after_a_new_start(
    adapted: Path, adapter: Adapter, device: DeviceThread
) -> None:
    live = LiveIndex(adapted, "shop", PHOTO_SPEC, device, policy=MergePolicy())
    with LivingCatalog(adapted, store=CatalogStore(adapted, published=live)) as living:
        live.open()
        assert_same(await answers(live.view()), expected(adapted, adapter, 5))
        living.upsert([row("new", SHOP.looks[:1] / np.linalg.norm(SHOP.looks[:1])), row("p07", SHOP.images[7:8])])
        living.delete(["p01", "p02"])
        assert_same(await answers(live.view(), 20), expected(adapted, adapter, 20))
        selected = await live.view().select(Filter(brands=("brand 3",)))
        assert_same(await answers(selected), expected(adapted, adapter, 5, lambda each: each in BRAND_3))
        live.close()
    await live.view().close()


BRAND_3 = {f"p{number:02}" for number in range(60) if number % 5 == 3}


async def test_a_merge_and_a_rollback_of_a_served_catalog_keep_to_the_adapter(
    adapted: Path, adapter: Adapter, device: DeviceThread
) -> None:
    live = LiveIndex(adapted, "shop", PHOTO_SPEC, device, policy=MergePolicy(images=3, images_share=0.0))
    with LivingCatalog(adapted, store=CatalogStore(adapted, published=live)) as living:
        live.open()
        living.upsert([row(f"new{number}", SHOP.photos[number : number + 1]) for number in range(8)])
        live.join()
        assert_same(await answers(live.view(), 20), expected(adapted, adapter, 20))
        made = living.checkpoint()
        living.delete(["p05"])
        living.store.rollback(made.number)
        assert_same(await answers(live.view(), 20), expected(adapted, adapter, 20))
        living.store.rollback(1)
        assert live.view().state.base.adapter is None
        living.store.rollback(2)
        assert_same(await answers(live.view()), expected(adapted, adapter, 5))
        living.store.adapt(b"", "removed")
        assert live.view().state.base.adapter is None
        live.close()
    await live.view().close()
