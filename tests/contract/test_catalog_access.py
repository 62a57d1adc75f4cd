"""The policy on CatalogService: who may read, write and manage which catalog, and what a list shows."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_proto_pb2 as lro

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1 import catalog_transfer_service_pb2 as transfer_pb
from sightline.v1.catalog_transfer_service_pb2_grpc import CatalogTransferServiceStub
from sightline_server.app.access import open_access_files
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.settings import Settings
from tests.support.catalog_service import SHOP, ServedCatalog, catalog_serving, make_shop, product, ready, upsert
from tests.support.lens import channel_to, details_of
from tests.support.tokens import add_key, bearer

CODE = grpc.StatusCode
POLICY = """
[principals.reader]
catalogs = ["shop"]
methods = ["read"]

[principals.writer]
catalogs = ["shop"]
methods = ["read", "write"]

[principals.other]
catalogs = ["outlet-*"]
methods = ["read", "write", "manage"]

[principals.phone]
catalogs = ["shop"]
methods = ["*"]
lanes = ["interactive"]
"""


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "policy.toml").write_text(POLICY)
    return {name: add_key(tmp_path / "keys.json", name) for name in ("reader", "writer", "other", "phone")}


def serving(tmp_path: Path) -> Any:
    settings = Settings(
        access={"policy_file": tmp_path / "policy.toml", "keys_file": tmp_path / "keys.json"},  # type: ignore[arg-type]
        catalog={"path": tmp_path / "shop", "name": "shop"},  # type: ignore[arg-type]
    )
    files = open_access_files(settings)
    assert files is not None
    return catalog_serving(make_shop(tmp_path), access=lambda names: files.access(CatalogNames(names.names)))


Call = Callable[[ServedCatalog, Any, str], Awaitable[Any]]


def named(method: str, make: Callable[[str], Any]) -> Call:
    async def call(served: ServedCatalog, metadata: Any, catalog: str) -> Any:
        return await getattr(served.stub, method)(make(catalog), metadata=metadata, timeout=30)

    return call


async def upserting(served: ServedCatalog, metadata: Any, catalog: str) -> Any:
    request = upsert(product("new", ready(served.embedder)), parent=catalog)
    return [each async for each in served.stub.UpsertProducts(iter([request]), metadata=metadata, timeout=30)]


async def importing(served: ServedCatalog, metadata: Any, catalog: str) -> Any:
    async with channel_to(served.address, None, ()) as channel:
        request = transfer_pb.ImportProductsRequest(parent=catalog)
        await CatalogTransferServiceStub(channel).ImportProducts(request, metadata=metadata, timeout=30)


async def listing_operations(served: ServedCatalog, metadata: Any, catalog: str) -> Any:
    async with channel_to(served.address, None, ()) as channel:
        method: Any = channel.unary_unary(
            "/google.longrunning.Operations/ListOperations",
            request_serializer=lro.ListOperationsRequest.SerializeToString,
            response_deserializer=lro.ListOperationsResponse.FromString,
        )
        return await method(lro.ListOperationsRequest(name=catalog), metadata=metadata, timeout=30)


READS: dict[str, Call] = {
    "GetCatalog": named("GetCatalog", lambda name: pb.GetCatalogRequest(name=name)),
    "ListProducts": named("ListProducts", lambda name: pb.ListProductsRequest(parent=name, page_size=-1)),
    "GetProduct": named("GetProduct", lambda name: pb.GetProductRequest(name=f"{name}/products/p1")),
    "ListRevisions": named("ListRevisions", lambda name: pb.ListRevisionsRequest(parent=name)),
    "ListOperations": listing_operations,
}
WRITES: dict[str, Call] = {
    "UpsertProducts": upserting,
    "UpdateProducts": named("UpdateProducts", lambda name: pb.UpdateProductsRequest(parent=name)),
    "DeleteProducts": named("DeleteProducts", lambda name: pb.DeleteProductsRequest(parent=name)),
    "ActivateRevision": named(
        "ActivateRevision", lambda name: pb.ActivateRevisionRequest(name=f"{name}/revisions/1", note="x" * 5000)
    ),
    "ImportProducts": importing,
}
MANAGES: dict[str, Call] = {
    "DeleteCatalog": named("DeleteCatalog", lambda name: pb.DeleteCatalogRequest(name=name, force=True)),
    "CreateCatalog": named("CreateCatalog", lambda name: pb.CreateCatalogRequest(catalog_id=name.partition("/")[2])),
}


async def outcome(call: Call, served: ServedCatalog, key: str, catalog: str = SHOP) -> tuple[grpc.StatusCode, str]:
    """The code and the message with which a call ends."""
    try:
        await call(served, bearer(key), catalog)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or "" if "ErrorInfo" in details_of(error) else "no ErrorInfo"
    return CODE.OK, ""


async def test_a_reader_reads_and_writes_nothing(tmp_path: Path, keys: dict[str, str]) -> None:
    async with serving(tmp_path) as served:
        for name, call in READS.items():
            code, _ = await outcome(call, served, keys["reader"])
            assert code is (CODE.INVALID_ARGUMENT if name == "ListProducts" else CODE.OK), name
        for name, call in (WRITES | MANAGES).items():
            for catalog in (SHOP, "catalogs/absent"):
                found = await outcome(call, served, keys["reader"], catalog)
                assert found == (CODE.PERMISSION_DENIED, "this caller may not use this method"), name
        assert served.writer.pending == 0
        assert await served.writer.count() == 5


async def test_a_catalog_of_others_looks_absent_to_every_method(tmp_path: Path, keys: dict[str, str]) -> None:
    async with serving(tmp_path) as served:
        for name, call in (READS | WRITES | MANAGES).items():
            found = {await outcome(call, served, keys["other"], catalog) for catalog in (SHOP, "catalogs/absent")}
            [(code, message)] = found
            assert code is CODE.NOT_FOUND and message.startswith("catalog: there is no such catalog"), name
        assert await served.writer.count() == 5


async def test_a_writer_writes_and_does_not_manage(tmp_path: Path, keys: dict[str, str]) -> None:
    async with serving(tmp_path) as served:
        assert (await outcome(upserting, served, keys["writer"]))[0] is CODE.OK
        assert await served.writer.count() == 6
        assert (await outcome(MANAGES["DeleteCatalog"], served, keys["writer"]))[0] is CODE.PERMISSION_DENIED


async def test_a_list_shows_the_catalogs_of_its_caller(tmp_path: Path, keys: dict[str, str]) -> None:
    async with serving(tmp_path) as served:
        shown = {}
        for name in ("reader", "other"):
            answer = await served.stub.ListCatalogs(pb.ListCatalogsRequest(), metadata=bearer(keys[name]))
            shown[name] = [each.name for each in answer.catalogs]
        assert shown == {"reader": [SHOP], "other": []}


async def test_calls_on_catalogs_need_the_batch_lane(tmp_path: Path, keys: dict[str, str]) -> None:
    async with serving(tmp_path) as served:
        for call in (READS["GetCatalog"], named("ListCatalogs", lambda name: pb.ListCatalogsRequest())):
            found = await outcome(call, served, keys["phone"])
            assert found == (CODE.PERMISSION_DENIED, "this caller may not use this lane")


async def test_a_call_without_a_credential_is_refused(tmp_path: Path, keys: dict[str, str]) -> None:
    async with serving(tmp_path) as served:
        for call in (READS | WRITES | MANAGES).values():
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(served, (), SHOP)
            assert caught.value.code() is CODE.UNAUTHENTICATED
