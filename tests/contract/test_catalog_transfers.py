"""Imports and exports as operations on a real port, over a real catalog and the real writer; the engine is a fake."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_proto_pb2 as lro
from google.longrunning.operations_pb2_grpc import OperationsStub
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2

from sightline.v1 import catalog_transfer_service_pb2 as pb
from sightline.v1.catalog_transfer_service_pb2_grpc import CatalogTransferServiceStub
from sightline_server.index.catalog_writer import GroupWriter
from sightline_server.jobs.jobs import Jobs
from tests.support.catalog_service import SHOP, ServedCatalog, catalog_serving, make_shop
from tests.support.catalogs import write_feed, write_picture
from tests.support.lens import until

CATALOG = SHOP


@dataclass
class Shop:
    """The server of one catalog, its stubs, and its folders."""

    served: ServedCatalog
    writer: GroupWriter
    transfers: Any
    operations: Any
    jobs: Jobs
    folder: Path

    async def imported(self, uri: str, **fields: Any) -> Any:
        return await self.transfers.ImportProducts(pb.ImportProductsRequest(parent=CATALOG, uri=uri, **fields))

    async def exported(self, uri: str, **fields: Any) -> Any:
        return await self.transfers.ExportProducts(pb.ExportProductsRequest(parent=CATALOG, uri=uri, **fields))

    async def ended(self, operation: Any) -> Any:
        found = await self.operations.WaitOperation(lro.WaitOperationRequest(name=operation.name), timeout=60)
        assert found.done
        return found

    async def ids(self) -> list[str]:
        return [each.product.id for each in await self.writer.list("", 10_000)]


@asynccontextmanager
async def shop_serving(folder: Path, **transfer: Any) -> AsyncIterator[Shop]:
    for name in ("imports", "exports"):
        (folder / name).mkdir(exist_ok=True)
    part = {"import_folder": folder / "imports", "export_folder": folder / "exports", **transfer}
    async with (
        catalog_serving(make_shop(folder), transfer=part) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        stubs = CatalogTransferServiceStub(channel), OperationsStub(channel)
        yield Shop(served, served.writer, *stubs, served.door.transfers.jobs, folder)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with shop_serving(tmp_path) as opened:
        yield opened


def progress_of(operation: Any) -> pb.TransferMetadata:
    found = pb.TransferMetadata()
    assert operation.metadata.Unpack(found)
    return found


def response_of(operation: Any, kind: Any) -> Any:
    found = kind()
    assert operation.WhichOneof("result") == "response", operation.error
    assert operation.response.Unpack(found)
    return found


def error_of(operation: Any) -> tuple[str, str]:
    assert operation.WhichOneof("result") == "error"
    return code_pb2.Code.Name(operation.error.code), operation.error.message


def image_feed(folder: Path, count: int) -> None:
    """A feed of products with an image each; that of every tenth product is missing."""
    for number in range(count):
        if number % 10 != 9:
            write_picture(folder / f"{number}.png", number % 250)
    rows = [{"id": f"n{number}", "title": f"t{number}", "image_link": f"{number}.png"} for number in range(count)]
    write_feed(folder / "feed.csv", rows)


async def test_import_is_an_operation_with_progress_and_a_revision(shop: Shop) -> None:
    image_feed(shop.folder / "imports", 40)
    begun = await shop.imported("feed.csv")
    assert begun.name.startswith(f"{CATALOG}/operations/")
    ended = await shop.ended(begun)
    response = response_of(ended, pb.ImportProductsResponse)
    assert (response.product_count, response.revision) == (36, shop.writer.revisions[0].name)
    progress = progress_of(ended)
    assert (progress.rows_total, progress.rows_read, progress.rows_written) == (40, 40, 36)
    assert (progress.rows_failed, progress.problem_count) == (4, 4)
    assert next((each.row, each.product_id, each.skipped) for each in progress.problems) == (11, "n9", True)
    assert progress.HasField("end_time")
    assert len(await shop.ids()) == 41


@pytest.mark.parametrize("name", ["out.jsonl.gz", "out.parquet"])
async def test_export_then_import_gives_the_same_digest(shop: Shop, name: str) -> None:
    before = shop.writer.revisions[0].digest
    ended = await shop.ended(await shop.exported(name, embeddings=True))
    response = response_of(ended, pb.ExportProductsResponse)
    assert (response.product_count, response.image_count) == (5, 5)
    assert progress_of(ended).rows_written == 5
    (shop.folder / "exports" / name).rename(shop.folder / "imports" / name)
    await shop.writer.delete([f"p{number}" for number in range(5)])
    assert await shop.ids() == []
    imported = await shop.ended(await shop.imported(name, embedded=True))
    response_of(imported, pb.ImportProductsResponse)
    progress = progress_of(imported)
    assert (progress.rows_total, progress.rows_read, progress.rows_written) == (5, 5, 5)
    assert shop.writer.revisions[0].digest == before


async def test_cancelled_import_says_how_much_it_wrote(shop: Shop) -> None:
    image_feed(shop.folder / "imports", 400)
    embedder = shop.served.engine.models["embedder"]
    begun = await shop.imported("feed.csv")
    await until(lambda: next(iter(shop.jobs)).progress.written > 0)
    embedder.gate.clear()
    await shop.operations.CancelOperation(lro.CancelOperationRequest(name=begun.name))
    ended = await shop.ended(begun)
    embedder.gate.set()
    code, message = error_of(ended)
    written = progress_of(ended).rows_written
    assert code == "CANCELLED" and f"{written} products were written and stay" in message
    assert 0 < written < 360
    assert len(await shop.ids()) == 5 + written


async def test_cancelled_export_leaves_no_file(shop: Shop) -> None:
    begun = await shop.exported("out.csv")
    await shop.operations.CancelOperation(lro.CancelOperationRequest(name=begun.name))
    ended = await shop.ended(begun)
    # It may have been done before the cancellation came.
    expected = ["out.csv"] if ended.WhichOneof("result") == "response" else []
    assert [path.name for path in (shop.folder / "exports").iterdir()] == expected


async def test_feed_that_is_cut_off_is_an_error_of_the_operation(shop: Shop) -> None:
    (shop.folder / "imports" / "cut.xml").write_bytes(b"<rss><channel><item><id>1</id></item><item>")
    code, message = error_of(await shop.ended(await shop.imported("cut.xml")))
    assert (code, "not well-formed XML" in message) == ("INVALID_ARGUMENT", True)
    assert "0 products were written" in message and str(shop.folder) not in message
    assert len(await shop.ids()) == 5


@pytest.mark.parametrize("uri", ["../shop/log.sqlite", "/etc/passwd", "none.csv", "http://127.0.0.1:1/a.csv"])
async def test_import_from_another_place_is_refused(shop: Shop, uri: str) -> None:
    code, message = error_of(await shop.ended(await shop.imported(uri)))
    assert code == "INVALID_ARGUMENT" and str(shop.folder) not in message


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code(), raised.value.details() or ""


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        *(({"uri": ""}, "uri"), ({"uri": "x" * 5000}, "uri"), ({"encoding": "base64"}, "encoding")),
        *(({"currency": "XXY"}, "currency"), ({"decimal_sign": 9}, "decimal_sign"), ({"parent": "shop"}, "parent")),
    ],
)
async def test_wrong_field_of_an_import_is_refused(shop: Shop, fields: dict[str, Any], text: str) -> None:
    request = pb.ImportProductsRequest(**{"parent": CATALOG, "uri": "a.csv", **fields})
    code, details = await refusal(shop.transfers.ImportProducts(request))
    assert (code, details.startswith(text)) == (grpc.StatusCode.INVALID_ARGUMENT, True), details


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        *(({"uri": "a"}, "format"), ({"uri": "a.csv", "embeddings": True}, "format"), ({"format": 99}, "format")),
        *(({"revision": -1}, "revision"), ({"uri": "../a.csv"}, "expected the name"), ({"uri": "old.csv"}, "uri")),
    ],
)
async def test_wrong_field_of_an_export_is_refused(shop: Shop, fields: dict[str, Any], text: str) -> None:
    (shop.folder / "exports" / "old.csv").write_text("old")
    request = pb.ExportProductsRequest(**{"parent": CATALOG, "uri": "a.csv", **fields})
    code, details = await refusal(shop.transfers.ExportProducts(request))
    assert (code, text in details) == (grpc.StatusCode.INVALID_ARGUMENT, True), details
    assert (shop.folder / "exports" / "old.csv").read_text() == "old"


async def test_export_replaces_a_file_only_if_asked(shop: Shop) -> None:
    (shop.folder / "exports" / "old.csv").write_text("old")
    response_of(await shop.ended(await shop.exported("old.csv", replace=True)), pb.ExportProductsResponse)
    assert (shop.folder / "exports" / "old.csv").read_text().startswith("id,title")


async def test_unknown_revision_is_an_error_of_the_operation(shop: Shop) -> None:
    code, message = error_of(await shop.ended(await shop.exported("a.csv", revision=99)))
    assert code == "INVALID_ARGUMENT" and "there is no revision 99" in message
    assert list((shop.folder / "exports").iterdir()) == []


async def test_unknown_catalog_and_operation_are_not_found(shop: Shop) -> None:
    request = pb.ImportProductsRequest(parent="catalogs/other", uri="a.csv")
    assert (await refusal(shop.transfers.ImportProducts(request)))[0] is grpc.StatusCode.NOT_FOUND
    for name, code in (
        (f"{CATALOG}/operations/{'0' * 32}", grpc.StatusCode.NOT_FOUND),
        (f"catalogs/other/operations/{'0' * 32}", grpc.StatusCode.NOT_FOUND),
        (f"{CATALOG}/operations/x", grpc.StatusCode.INVALID_ARGUMENT),
        ("operations/1", grpc.StatusCode.NOT_FOUND),
    ):
        assert (await refusal(shop.operations.GetOperation(lro.GetOperationRequest(name=name))))[0] is code, name


async def test_operations_are_listed_in_pages_the_newest_first(shop: Shop) -> None:
    names = [(await shop.ended(await shop.exported(f"{number}.csv"))).name for number in range(3)]
    listed, token = [], ""
    for _ in range(3):
        page = await shop.operations.ListOperations(
            lro.ListOperationsRequest(name=CATALOG, page_size=2, page_token=token)
        )
        listed += [each.name for each in page.operations]
        token = page.next_page_token
        if not token:
            break
    assert listed == names[::-1]
    wrong = lro.ListOperationsRequest(name=CATALOG, filter="done=true")
    assert (await refusal(shop.operations.ListOperations(wrong)))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_wait_ends_with_its_timeout_and_too_many_operations_are_refused(tmp_path: Path) -> None:
    async with shop_serving(tmp_path, max_running=1) as shop:
        image_feed(tmp_path / "imports", 20)
        embedder = shop.served.engine.models["embedder"]
        embedder.gate.clear()
        begun = await shop.imported("feed.csv")
        request = lro.WaitOperationRequest(name=begun.name, timeout=Duration(nanos=1_000_000))
        assert not (await shop.operations.WaitOperation(request)).done
        code, _ = await refusal(shop.exported("a.csv"))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        embedder.gate.set()
        assert response_of(await shop.ended(begun), pb.ImportProductsResponse).product_count == 18


async def test_server_without_folders_takes_no_files(tmp_path: Path) -> None:
    async with shop_serving(tmp_path, import_folder=None, export_folder=None, web=False) as shop:
        code, details = await refusal(shop.exported("a.csv"))
        assert (code, "transfer.export_folder" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        for uri in ("a.csv", "https://shop.example/a.csv"):
            assert error_of(await shop.ended(await shop.imported(uri)))[0] == "INVALID_ARGUMENT"


async def test_stopping_server_cancels_an_import_and_answers_who_waits(tmp_path: Path) -> None:
    async with shop_serving(tmp_path) as shop:
        image_feed(tmp_path / "imports", 200)
        begun = await shop.imported("feed.csv")
        await until(lambda: next(iter(shop.jobs)).progress.written > 0)
        shop.served.engine.models["embedder"].gate.clear()
        waiting = shop.operations.WaitOperation(lro.WaitOperationRequest(name=begun.name), timeout=60)
        await shop.operations.GetOperation(lro.GetOperationRequest(name=begun.name))
        await shop.served.door.close(30.0)
        assert error_of(await waiting)[0] == "CANCELLED"
        assert (await refusal(shop.imported("feed.csv")))[0] is grpc.StatusCode.UNAVAILABLE
        job = next(iter(shop.jobs))
        assert len(await shop.ids()) == 5 + job.progress.written
