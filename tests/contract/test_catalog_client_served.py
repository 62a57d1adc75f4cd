"""The catalog client against CatalogService with the real writer and a real catalog."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from sightline_client import (
    AsyncCatalogClient,
    CatalogClient,
    CatalogProduct,
    ConflictError,
    Embedding,
    ExportResult,
    ImportResult,
    InvalidRequestError,
    NotFoundError,
    Price,
    ProductDeletion,
    ProductImage,
    ProductUpdate,
    Progress,
    RevisionKind,
    SightlineError,
)
from tests.contract.test_catalog_transfers import image_feed, shop_serving
from tests.support.catalog_service import DIMENSION, ServedCatalog, catalog_serving, make_shop, png
from tests.support.catalogs import unit_vectors


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedCatalog]:
    async with catalog_serving(make_shop(tmp_path)) as each:
        yield each


def embedded(product_id: str, served: ServedCatalog, seed: int = 0, **fields: object) -> CatalogProduct:
    vector = Embedding(served.embedder, unit_vectors(1, seed, DIMENSION)[0])
    return CatalogProduct(product_id, [ProductImage(vector, f"{seed}.jpg")], **fields)  # type: ignore[arg-type]


async def test_products_are_written_in_order_and_read_back(served: ServedCatalog) -> None:
    many = [embedded(f"n{number:03}", served, number) for number in range(150)]
    full = embedded(
        "a/b c",
        served,
        title="Chair",
        brand="Nordhem",
        category="Furniture > Chairs",
        price=Price(Decimal("15.00"), "USD"),
        availability="in_stock",
        link="https://shop.example/a",
        item_group_id="g",
        gtin="4006381333931",
        attributes={"color": "red"},
    )
    given = [full, *many, CatalogProduct("photo", [png()], title="photo"), CatalogProduct("bad", [b"no image"])]
    async with AsyncCatalogClient(served.address) as client:
        statuses = [each async for each in client.upsert("shop", given)]
        assert [(each.index, each.id) for each in statuses] == [(number, each.id) for number, each in enumerate(given)]
        assert [each.id for each in statuses if not each.ok] == ["bad"]
        assert isinstance(statuses[-1].error, InvalidRequestError)
        assert statuses[-1].error.reason == "INVALID_IMAGE"
        found = await client.get("shop", "a/b c")
        listed = [each.id async for each in client.products("shop", page_size=40)]
        info = await client.catalog("shop")
        names = [each.name async for each in client.catalogs()]
    for field in ("title", "brand", "category", "price", "availability", "link", "item_group_id", "gtin", "attributes"):
        assert getattr(found, field) == getattr(full, field), field
    assert [image.link for image in found.images] == ["0.jpg"]  # type: ignore[union-attr]
    assert listed == sorted([*(f"p{n}" for n in range(5)), "a/b c", "photo", *(each.id for each in many)])
    assert (info.name, info.products, info.embedder, info.dimension) == ("shop", 157, served.embedder, DIMENSION)
    assert names == ["shop"]


async def test_updates_deletions_and_etags(served: ServedCatalog) -> None:
    async with AsyncCatalogClient(served.address) as client:
        before = await client.get("shop", "p0")
        updates = [
            ProductUpdate("p0", title="new", price=Price(Decimal("79.90"), "EUR"), etag=before.etag),
            ProductUpdate("p1", title="new", etag="stale"),
            ProductUpdate("none", title="new"),
        ]
        statuses = await client.update("shop", updates)
        assert [type(each.error) for each in statuses] == [type(None), ConflictError, NotFoundError]
        after = await client.get("shop", "p0")
        assert (after.title, after.price) == ("new", Price(Decimal("79.90"), "EUR"))
        assert after.etag != before.etag
        (checked,) = await client.delete("shop", ["p2"], validate_only=True)
        assert checked.ok
        statuses = await client.delete("shop", ["p2", "none", ProductDeletion("p3", etag="stale")])
        assert [type(each.error) for each in statuses] == [type(None), NotFoundError, ConflictError]
        with pytest.raises(NotFoundError):
            await client.get("shop", "p2")
        with pytest.raises(NotFoundError):
            await client.catalog("other")
        with pytest.raises(NotFoundError):
            _ = [each async for each in client.upsert("other", [embedded("a", served)])]


async def test_a_rollback_brings_a_product_back(served: ServedCatalog) -> None:
    async with AsyncCatalogClient(served.address) as client:
        (deleted,) = await client.delete("shop", ["p2"])
        assert deleted.ok
        revisions = [each async for each in client.revisions("shop")]
        made = await client.activate("shop", revisions[-1].number, note="back")
        assert (made.kind, made.products, made.note) == (RevisionKind.ROLLBACK, 5, "back")
        assert (await client.get("shop", "p2")).id == "p2"
        with pytest.raises((InvalidRequestError, NotFoundError)):
            await client.activate("shop", 999)


async def test_the_blocking_client_writes_and_reads(served: ServedCatalog) -> None:
    def use() -> None:
        with CatalogClient(served.address) as client:
            assert all(each.ok for each in client.upsert("shop", (embedded(f"n{n}", served, n) for n in range(20))))
            assert client.catalog("shop").products == 25

    await asyncio.to_thread(use)


async def test_an_import_is_started_and_waited_for(tmp_path: Path) -> None:
    async with shop_serving(tmp_path) as shop:
        image_feed(shop.folder / "imports", 20)
        seen = list[Progress]()
        async with AsyncCatalogClient(shop.served.address) as client:
            started = await client.transfers.import_feed("shop", "feed.csv")
            done = await client.transfers.wait(started, on_progress=seen.append)
            exported = await client.transfers.wait(await client.transfers.export("shop", "shop.jsonl"))
            names = [each.name async for each in client.transfers.list("shop")]
            with pytest.raises(SightlineError) as caught:
                await client.transfers.wait(await client.transfers.import_feed("shop", "none.csv"))
    assert isinstance(done.result, ImportResult)
    assert (done.result.products, seen[-1].rows_failed, len(done.progress.problems)) == (18, 2, 2)
    assert isinstance(exported.result, ExportResult)
    assert (exported.result.products, (tmp_path / "exports" / "shop.jsonl").exists()) == (23, True)
    assert started.name in names
    assert isinstance(caught.value, InvalidRequestError | NotFoundError)
