"""Writes that CatalogService acknowledged are in every later search of the same server; both listeners by one root."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import grpc
import pytest

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1 import lens_service_pb2, product_pb2
from sightline.v1.catalog_service_pb2_grpc import CatalogServiceStub
from sightline.v1.lens_service_pb2_grpc import LensServiceStub
from sightline_server.app import serving as serving_module
from sightline_server.errors import SightlineError
from sightline_server.index.living import LivingCatalog
from sightline_server.settings import Settings
from tests.support.catalog_service import SHOP, make_shop, png, product, reason, upsert
from tests.support.lens import FakeEngine


@asynccontextmanager
async def engine_of_the_test(settings: Settings, events: object) -> AsyncIterator[FakeEngine]:
    yield FakeEngine()


def addresses(caplog: pytest.LogCaptureFixture) -> str:
    """The address of CatalogService, from the server's log."""
    [line] = [each.getMessage() for each in caplog.records if each.getMessage().startswith("CatalogService listens")]
    return line.rpartition(" ")[2]


async def found(address: str, photo: bytes) -> list[tuple[str, str]]:
    """The products of the whole photo, best first, with their prices."""
    async with grpc.aio.insecure_channel(address) as channel:
        box = {"box": {"x_min": 0, "y_min": 0, "x_max": 1, "y_max": 1}}
        request = lens_service_pb2.SearchRequest(photo=photo, regions=[box], max_products=20)
        events = [event async for event in LensServiceStub(channel).Search(request, timeout=30)]
    [results] = [event.results for event in events if event.HasField("results")]
    return [(each.product.id, each.product.price) for each in results.products]


async def rest_of(call: Any, acknowledged: list[str]) -> grpc.StatusCode:
    """Adds the names in the responses that are left; returns the code of the call."""
    try:
        while (response := await call.read()) is not grpc.aio.EOF:
            acknowledged.append(response.status.name)
    except grpc.aio.AioRpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


async def test_acknowledged_writes_are_in_every_later_search(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    shop = make_shop(tmp_path)
    server = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "catalog_listen": "127.0.0.1:0"}
    settings = Settings(catalog={"path": shop}, server=server)  # type: ignore[arg-type]
    parent = "catalogs/default"
    name = f"{parent}/products/new"
    with patch.object(serving_module, "engine_session", engine_of_the_test):
        async with serving_module.serving(settings) as running:  # noqa: SIM117
            async with grpc.aio.insecure_channel(addresses(caplog)) as channel:
                stub = CatalogServiceStub(channel)
                image = pb.ProductImage(data=png(150), link="new.png")
                sent = upsert(product("new", image, price="5.00 USD"), parent=parent)
                statuses = [each.status async for each in stub.UpsertProducts(iter([sent]))]
                assert [reason(each) for each in statuses] == ["OK"]
                assert (await found(running.address, png(150)))[0] == ("new", "5.00 USD")
                update = pb.ProductUpdate(name=name, product=product_pb2.Product(price="4.00 USD"))
                await stub.UpdateProducts(pb.UpdateProductsRequest(parent=parent, updates=[update]))
                assert (await found(running.address, png(150)))[0] == ("new", "4.00 USD")
                deletion = pb.DeleteProductsRequest(parent=parent, deletions=[pb.ProductDeletion(name=name)])
                await stub.DeleteProducts(deletion)
                assert "new" not in dict(await found(running.address, png(150)))
                with pytest.raises(SightlineError, match="another process"), LivingCatalog(shop):
                    raise AssertionError("the catalog has two writers")
                revision = pb.ActivateRevisionRequest(name=f"{parent}/revisions/1")
                await stub.ActivateRevision(revision)
                assert len(await found(running.address, png(150))) == 5
    with LivingCatalog(shop) as living:
        assert (living.store.pending, living.store.revisions[0].rows) == (0, 5)


async def test_a_server_that_is_stopped_under_writes_keeps_what_it_acknowledged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    shop = make_shop(tmp_path)
    server = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "catalog_listen": "127.0.0.1:0"}
    settings = Settings(catalog={"path": shop, "name": "shop"}, server=server)  # type: ignore[arg-type]
    acknowledged: list[str] = []
    with patch.object(serving_module, "engine_session", engine_of_the_test):
        async with serving_module.serving(settings):
            channel = grpc.aio.insecure_channel(addresses(caplog))
            call: Any = CatalogServiceStub(channel).UpsertProducts()
            for n in range(20):
                image = pb.ProductImage(data=png(n), link="x")
                await call.write(upsert(product(f"n{n}", image), parent=SHOP))
            acknowledged.append((await call.read()).status.name)
    assert await rest_of(call, acknowledged) is grpc.StatusCode.UNAVAILABLE
    await channel.close()
    with LivingCatalog(shop) as living, living.store.current() as current:
        assert all(current.row(each.rpartition("/")[2]) is not None for each in acknowledged)
        assert living.store.pending == 0
