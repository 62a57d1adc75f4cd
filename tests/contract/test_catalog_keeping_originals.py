"""Original images that a server keeps of the products that callers write, through a real channel."""

from pathlib import Path
from unittest.mock import patch

import grpc
import pytest
from google.longrunning import operations_proto_pb2 as lro
from google.longrunning.operations_pb2_grpc import OperationsStub

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1 import catalog_transfer_service_pb2
from sightline.v1.catalog_transfer_service_pb2_grpc import CatalogTransferServiceStub
from sightline_server.app.checks import check_settings
from sightline_server.catalog.originals import Originals, originals_size
from sightline_server.catalog.originals_file import IMAGE_FILES, keeps_originals
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalogs_folder import CatalogsFolder
from sightline_server.index.living import LivingCatalog
from sightline_server.index.originals import row_keys
from sightline_server.index.stored_rows import stored_rows
from sightline_server.settings import Settings
from tests.support.catalog_service import (
    SHOP,
    catalog_serving,
    make_shop,
    png,
    product,
    ready,
    reason,
    upsert,
    upserted,
)
from tests.support.catalogs import SPEC, write_feed, write_picture


def keeping_shop(folder: Path) -> Path:
    shop = make_shop(folder)
    with LivingCatalog(shop) as living:
        living.originals.switch(True)
    return shop


def contents(shop: Path) -> dict[str, list[bytes | None]]:
    store = Originals(shop)
    rows = [each for batch in stored_rows(shop).checked() for each in batch]
    found = {each.product.id: list(map(store.content, row_keys(each))) for each in rows}
    store.close()
    return {name: files for name, files in found.items() if not name.startswith("p")}


def image(shade: int) -> pb.ProductImage:
    return pb.ProductImage(link=f"https://shop.example/{shade}.png", data=png(shade))


async def test_files_that_callers_send_are_kept_as_they_are(tmp_path: Path) -> None:
    shop = keeping_shop(tmp_path)
    async with catalog_serving(shop) as served:
        sent = [
            product("new", image(10), ready(served.embedder, 1), image(20)),
            product("ready", ready(served.embedder, 2)),
            product("again", image(30)),
            product("trial", image(40)),
        ]
        statuses = await upserted(served, *map(upsert, sent[:3]), upsert(sent[3], validate_only=True))
        assert [reason(status) for status in statuses] == ["OK"] * 4
        statuses = await upserted(
            served, upsert(product("again", image(31))), upsert(product("bad", image(1), etag="x"))
        )
        assert [reason(status) for status in statuses] == ["OK", "ETAG_MISMATCH"]
    assert contents(shop) == {"new": [png(10), None, png(20)], "ready": [None], "again": [png(31)]}
    size = originals_size(shop)
    assert size is not None
    assert size.files == 5, "the old file of a product that was changed, and that of one that was not written, go later"


async def test_a_catalog_that_keeps_none_writes_no_file(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    async with catalog_serving(shop) as served:
        assert [reason(status) for status in await upserted(served, upsert(product("new", image(10))))] == ["OK"]
    assert not keeps_originals(shop)


async def test_a_full_disk_refuses_the_product_and_names_no_path(tmp_path: Path) -> None:
    shop = keeping_shop(tmp_path)
    full = SightlineError(ErrorKind.OVERLOADED, f"cannot write {shop}: the disk is full")
    async with catalog_serving(shop) as served:
        for step in ("add", "link"):
            with patch.object(Originals, step, side_effect=full):
                [status] = await upserted(served, upsert(product("new", image(10))))
            assert reason(status) == "OVERLOADED"
            assert "the disk of the catalog is full" in status.status.message
            assert str(tmp_path) not in str(status)
        [status] = await upserted(served, upsert(product("new", image(10))))
        assert reason(status) == "OK"
    assert contents(shop) == {"new": [png(10)]}


async def test_an_import_keeps_the_files_of_its_feed(tmp_path: Path) -> None:
    shop, imports = keeping_shop(tmp_path), tmp_path / "imports"
    write_picture(imports / "a.png", 77)
    write_feed(imports / "feed.csv", [{"id": "fed", "image_link": "a.png"}, {"id": "fed2", "image_link": "a.png"}])
    async with (
        catalog_serving(shop, transfer={"import_folder": imports}) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        request = catalog_transfer_service_pb2.ImportProductsRequest(parent=SHOP, uri="feed.csv")
        started = await CatalogTransferServiceStub(channel).ImportProducts(request)
        ended = await OperationsStub(channel).WaitOperation(lro.WaitOperationRequest(name=started.name), timeout=60)
        assert ended.done and not ended.error.code
    file = (imports / "a.png").read_bytes()
    assert contents(shop) == {"fed": [file], "fed2": [file]}


def test_a_new_catalog_keeps_files_where_the_server_says_so(tmp_path: Path) -> None:
    for name, keep in (("with", True), ("without", False)):
        kinds = [IMAGE_FILES] if keep else []
        with CatalogsFolder(tmp_path, kinds=dict.fromkeys([SPEC], kinds).__getitem__) as folder:
            made = folder.create(name, SPEC)
        assert keeps_originals(made) is keep
        with LivingCatalog(made) as living:
            assert living.originals.kept is keep


def test_the_setting_without_a_folder_of_catalogs_is_refused(tmp_path: Path) -> None:
    server = {"keep_originals": True, "catalog_listen": "127.0.0.1:0"}
    settings = Settings(catalog={"path": make_shop(tmp_path)}, server=server)  # type: ignore[arg-type]
    with pytest.raises(SightlineError, match=r"needs server\.catalogs_folder.*--keep-originals") as refused:
        check_settings(settings)
    assert refused.value.kind is ErrorKind.CONFIGURATION
