"""Products that callers write to a catalog with two views of an image, through a real channel."""

from pathlib import Path

import grpc
import numpy as np
import pytest
from google.longrunning import operations_proto_pb2 as lro
from google.longrunning.operations_pb2_grpc import OperationsStub

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1 import catalog_transfer_service_pb2
from sightline.v1.catalog_transfer_service_pb2_grpc import CatalogTransferServiceStub
from sightline_server.index.catalogs_folder import CatalogsFolder
from sightline_server.index.stored_rows import stored_rows
from tests.support.catalog_service import SHOP, catalog_serving, png, product, ready, reason, upsert, upserted
from tests.support.catalogs import write_feed
from tests.support.lens import FakeEngine
from tests.support.pictures import encode


def framed(shade: int) -> bytes:
    """A square of one grey with a white margin, as PNG."""
    pixels = np.full((48, 48, 3), 255, np.uint8)
    pixels[12:36, 12:36] = shade
    return encode(pixels, "PNG")


def new_shop(folder: Path, views: int) -> Path:
    with CatalogsFolder(folder, views=views) as catalogs:
        return catalogs.create("shop", FakeEngine().embedder)


def stored(shop: Path) -> dict[str, list[str]]:
    rows = [each for batch in stored_rows(shop).checked() for each in batch]
    assert all(len(each.images) == len(each.embeddings) for each in rows)
    return {each.product.id: list(each.images) for each in rows}


@pytest.mark.parametrize(("views", "times"), [(1, 1), (2, 2)])
async def test_what_callers_send_gets_the_views_of_the_catalog(tmp_path: Path, views: int, times: int) -> None:
    shop = new_shop(tmp_path, views)
    async with catalog_serving(shop) as served:
        sent = product(
            "new",
            pb.ProductImage(link="a", data=framed(20)),
            pb.ProductImage(link="b", data=png(200)),
            ready(served.embedder, 1),
        )
        again = product("many", *(pb.ProductImage(link=f"{place}", data=framed(20 + place)) for place in range(20)))
        statuses = await upserted(served, upsert(sent), upsert(again))
        assert [reason(status) for status in statuses] == ["OK", "OK"]
    found = stored(shop)
    assert found["new"][: times + 1] == ["a"] * times + ["b"]
    assert len(found["new"]) == times + 2
    assert found["many"] == [f"{place}" for place in range(20)], "the limit leaves no room for second views"


async def test_an_import_gets_the_views_of_the_catalog(tmp_path: Path) -> None:
    shop, imports = new_shop(tmp_path, 2), tmp_path / "imports"
    imports.mkdir()
    (imports / "a.png").write_bytes(framed(77))
    write_feed(imports / "feed.csv", [{"id": "fed", "image_link": "a.png"}])
    async with (
        catalog_serving(shop, transfer={"import_folder": imports}) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        request = catalog_transfer_service_pb2.ImportProductsRequest(parent=SHOP, uri="feed.csv")
        started = await CatalogTransferServiceStub(channel).ImportProducts(request)
        ended = await OperationsStub(channel).WaitOperation(lro.WaitOperationRequest(name=started.name), timeout=60)
        assert ended.done and not ended.error.code
    assert stored(shop) == {"fed": ["a.png", "a.png"]}
