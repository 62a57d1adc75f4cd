"""CatalogService through a real channel: what is written, listed, changed, refused and gone back to."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1 import product_pb2
from sightline_server.catalog.log import Log
from sightline_server.ingest.embedding import engine_embed
from tests.support.catalog_service import (
    DIMENSION,
    SHOP,
    ServedCatalog,
    catalog_serving,
    embedding,
    field,
    make_shop,
    png,
    product,
    ready,
    reason,
    upsert,
    upserted,
)
from tests.support.catalogs import unit_vectors
from tests.support.lens import details_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
Product = product_pb2.Product


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedCatalog]:
    async with catalog_serving(make_shop(tmp_path_factory.mktemp("catalog"))) as served:
        yield served


async def get(served: ServedCatalog, name: str) -> pb.CatalogProduct:
    response = await served.stub.GetProduct(pb.GetProductRequest(name=f"{SHOP}/products/{name}"))
    found: pb.CatalogProduct = response.product
    return found


async def refusal(call: Any) -> tuple[str, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    details = details_of(caught.value)
    bad = details.get("BadRequest")
    return (
        caught.value.code().name,
        details["ErrorInfo"].reason,
        bad.field_violations[0].field if bad is not None else "",
    )


async def test_products_are_written_with_ready_embeddings_and_read_again(served: ServedCatalog) -> None:
    sent = product(
        "a/b ä",
        ready(served.embedder, 1),
        ready(served.embedder, 2),
        title="Chair",
        price="15.00 USD",
        availability="in_stock",
        attributes={"color": "red"},
    )
    [status] = await upserted(served, upsert(sent))
    assert (reason(status), status.name) == ("OK", f"{SHOP}/products/a%2Fb%20%C3%A4")
    stored = await get(served, "a%2Fb%20%C3%A4")
    assert stored.product == sent.product
    assert [image.link for image in stored.images] == ["https://shop.example/1.jpg", "https://shop.example/2.jpg"]
    assert stored.etag
    assert stored.name == status.name


async def test_an_image_has_the_embedding_that_a_build_gives(served: ServedCatalog) -> None:
    [status] = await upserted(served, upsert(product("pixels", pb.ProductImage(data=png(200), link="x.png"))))
    assert reason(status) == "OK"
    with served.writer._living.store.current() as current:
        row = current.row("pixels")
    assert row is not None
    stored = np.array(row["embeddings"][0].as_py()[0], np.float32)
    built = await engine_embed(served.engine)([np.full((16, 16, 3), 200, np.uint8)])
    assert (stored == built[0].astype(np.float16).astype(np.float32)).all()


async def test_statuses_come_in_the_order_of_the_messages(served: ServedCatalog) -> None:
    requests = [
        upsert(product(f"order{n}", pb.ProductImage(data=png(n), link="x") if n % 3 else ready(served.embedder, n)))
        for n in range(60)
    ]
    statuses = await upserted(served, *requests)
    assert [status.name for status in statuses] == [f"{SHOP}/products/order{n}" for n in range(60)]
    assert {reason(status) for status in statuses} == {"OK"}


def bad_products(embedder: str) -> dict[str, tuple[pb.CatalogProduct, str, str]]:
    vector, zero = unit_vectors(1, 3, DIMENSION)[0], np.zeros(DIMENSION)
    image, values = ready(embedder), "product.images[0].embedding.values"

    def with_vector(numbers: Any, name: str = embedder) -> pb.CatalogProduct:
        return product("bad", pb.ProductImage(embedding=embedding(name, numbers)))

    invalid = "INVALID_REQUEST"
    return {
        "dimension": (with_vector(unit_vectors(1, 1, 8)[0]), invalid, values),
        "embedder": (with_vector(vector, "other@1"), invalid, "product.images[0].embedding.embedder"),
        "no embedder": (with_vector(vector, ""), invalid, "product.images[0].embedding.embedder"),
        "nan": (with_vector([np.nan, *vector[1:]]), invalid, values),
        "infinite": (with_vector([np.inf, *vector[1:]]), invalid, values),
        "zero vector": (with_vector(zero), invalid, values),
        "long vector": (with_vector(vector * 3), invalid, values),
        "no image": (product("bad"), invalid, "product.images"),
        "empty image": (product("bad", pb.ProductImage(link="x")), invalid, "product.images[0]"),
        "21 images": (product("bad", *[image] * 21), invalid, "product.images"),
        "broken image": (
            product("bad", image, pb.ProductImage(data=b"nothing")),
            "INVALID_IMAGE",
            "product.images[1].data",
        ),
        "currency": (product("bad", image, price="15.00 XXX"), invalid, "product.product.price"),
        "no currency": (product("bad", image, price="15.00"), invalid, "product.product.price"),
        "negative price": (product("bad", image, price="-1.00 USD"), invalid, "product.product.price"),
        "price of a feed": (product("bad", image, price="1.299,00 EUR"), invalid, "product.product.price"),
        "availability": (product("bad", image, availability="maybe"), invalid, "product.product.availability"),
        "title of a megabyte": (product("bad", image, title="t" * 1_000_000), invalid, "product.product"),
        "long title": (product("bad", image, title="t" * 5001), invalid, "product.product.title"),
        "attributes": (
            product("bad", image, attributes={f"a{n}": "" for n in range(100_000)}),
            invalid,
            "product.product",
        ),
        "101 attributes": (
            product("bad", image, attributes={f"a{n}": "x" for n in range(101)}),
            invalid,
            "product.product.attributes",
        ),
        "no id": (product("", image), invalid, "product.product.id"),
        "control characters": (product("a\nb", image), invalid, "product.product.id"),
        "long id": (product("i" * 257, image), invalid, "product.product.id"),
        "password": (product("bad", image, link="https://u:p@shop.example/"), invalid, "product.product.link"),
        "stale etag": (product("p1", image, etag="stale"), "ETAG_MISMATCH", ""),
        "etag of nothing": (product("bad", image, etag="stale"), "ETAG_MISMATCH", ""),
    }


async def test_each_bad_product_has_its_status_and_harms_no_other(served: ServedCatalog) -> None:
    before = served.writer.pending
    cases = bad_products(served.embedder)
    good = [upsert(product(f"good{n}", ready(served.embedder, n))) for n in range(len(cases))]
    requests = [
        each for pair in zip(map(upsert, (case[0] for case in cases.values())), good, strict=True) for each in pair
    ]
    statuses = await upserted(served, *requests)
    assert {reason(status) for status in statuses[1::2]} == {"OK"}
    found = {name: (reason(status), field(status)) for name, status in zip(cases, statuses[::2], strict=True)}
    assert found == {name: (expected, where) for name, (_, expected, where) in cases.items()}
    assert served.writer.pending == before + len(cases)


async def test_a_duplicate_id_and_another_catalog_in_a_stream_are_refused(served: ServedCatalog) -> None:
    image = ready(served.embedder)
    statuses = await upserted(
        served,
        upsert(product("twice", image, price="-1 USD")),
        upsert(product("twice", image), parent=""),
        upsert(product("twice", image)),
        upsert(product("elsewhere", image), parent="catalogs/other"),
        upsert(product("other", image)),
    )
    assert [reason(status) for status in statuses] == [
        "INVALID_REQUEST",
        "OK",
        "INVALID_REQUEST",
        "INVALID_REQUEST",
        "OK",
    ]
    assert field(statuses[3]) == "parent"


async def test_bytes_that_are_not_a_message_cost_that_message(served: ServedCatalog) -> None:
    good = upsert(product("bytes", ready(served.embedder))).SerializeToString()
    async with grpc.aio.insecure_channel(served.address) as channel:
        method: Any = channel.stream_stream(
            "/sightline.v1.CatalogService/UpsertProducts",
            response_deserializer=pb.UpsertProductsResponse.FromString,
        )
        call = method(iter([good, b"\xff\xff\xff", b"", good.replace(b"bytes", b"after")]))
        statuses = [response.status async for response in call]
    assert [reason(status) for status in statuses] == ["OK", "INVALID_REQUEST", "INVALID_REQUEST", "OK"]


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        ("catalogs/other", ("NOT_FOUND", "UNKNOWN_CATALOG", "")),
        ("", ("INVALID_ARGUMENT", "INVALID_REQUEST", "parent")),
        ("shop", ("INVALID_ARGUMENT", "INVALID_REQUEST", "parent")),
        ("catalogs/shop/products/p1", ("INVALID_ARGUMENT", "INVALID_REQUEST", "parent")),
    ],
)
async def test_a_stream_without_a_catalog_is_refused(
    served: ServedCatalog, parent: str, expected: tuple[str, str, str]
) -> None:
    async def call() -> None:
        await upserted(served, upsert(product("x", ready(served.embedder)), parent=parent))

    assert await refusal(call()) == expected


async def test_a_request_id_that_is_sent_again_writes_once(served: ServedCatalog) -> None:
    sent = upsert(
        product("once", pb.ProductImage(data=png(7), link="x"), attributes={"b": "1", "a": "2"}), request_id="r-1"
    )
    await upserted(served, sent)
    pending = served.writer.pending
    assert [reason(status) for status in await upserted(served, sent)] == ["OK"]
    assert served.writer.pending == pending
    sent.product.product.title = "other"
    assert [(reason(each), field(each)) for each in await upserted(served, sent)] == [("INVALID_REQUEST", "request_id")]


async def test_validate_only_checks_and_writes_nothing(served: ServedCatalog) -> None:
    pending = served.writer.pending
    statuses = await upserted(
        served,
        upsert(product("dry", pb.ProductImage(data=png(7), link="x")), validate_only=True),
        upsert(product("dry2", pb.ProductImage(data=b"no", link="x")), validate_only=True),
    )
    assert [reason(status) for status in statuses] == ["OK", "INVALID_IMAGE"]
    assert served.writer.pending == pending
    assert await refusal(get(served, "dry")) == ("NOT_FOUND", "UNKNOWN_PRODUCT", "")


async def test_updates_change_fields_and_keep_the_images(served: ServedCatalog) -> None:
    await upserted(served, upsert(product("u1", ready(served.embedder, 5), title="old", attributes={"size": "1"})))
    before = await get(served, "u1")
    name = f"{SHOP}/products/u1"
    updates = [
        pb.ProductUpdate(name=name, product=Product(price="3.50 EUR", availability="out_of_stock"), etag=before.etag),
        pb.ProductUpdate(name=f"{SHOP}/products/nobody", product=Product(title="x")),
        pb.ProductUpdate(name=f"{SHOP}/products/p1", product=Product(price="-3 EUR")),
        pb.ProductUpdate(name=name, product=Product(title="again")),
        pb.ProductUpdate(name=f"{SHOP}/products/p2", product=Product(title="x"), etag="stale"),
        pb.ProductUpdate(name=f"{SHOP}/products/p3", product=Product(), update_mask=FieldMask(paths=["title"])),
        pb.ProductUpdate(
            name=f"{SHOP}/products/p4", product=Product(title="x"), update_mask=FieldMask(paths=["images"])
        ),
        pb.ProductUpdate(name="catalogs/other/products/p4", product=Product(title="x")),
        pb.ProductUpdate(name=f"{SHOP}/products/p0", product=Product(image_link="https://shop.example/x.jpg")),
        pb.ProductUpdate(name=f"{SHOP}/products/p0", product=Product(id="p1", title="x")),
        pb.ProductUpdate(name=f"{SHOP}/products/p0"),
        pb.ProductUpdate(name=f"{SHOP}/products/p0", update_mask=FieldMask(paths=["price"])),
    ]
    response = await served.stub.UpdateProducts(pb.UpdateProductsRequest(parent=SHOP, updates=updates))
    assert [(reason(each), field(each)) for each in response.statuses] == [
        ("OK", ""),
        ("UNKNOWN_PRODUCT", ""),
        ("INVALID_REQUEST", "updates[2].product.price"),
        ("INVALID_REQUEST", "updates[3].name"),
        ("ETAG_MISMATCH", ""),
        ("OK", ""),
        ("INVALID_REQUEST", "updates[6].update_mask"),
        ("INVALID_REQUEST", "updates[7].name"),
        ("INVALID_REQUEST", "updates[8].product.image_link"),
        ("INVALID_REQUEST", "updates[9].product.id"),
        ("INVALID_REQUEST", "updates[10].update_mask"),
        ("INVALID_REQUEST", "updates[11].product.price"),
    ]
    after = await get(served, "u1")
    assert (after.product.price, after.product.availability, after.product.title) == ("3.50 EUR", "out_of_stock", "old")
    assert after.images == before.images
    assert after.etag != before.etag
    assert (await get(served, "p3")).product.title == ""


async def test_deletions_have_a_status_each(served: ServedCatalog) -> None:
    await upserted(served, *(upsert(product(f"d{n}", ready(served.embedder, n))) for n in range(3)))
    etag = (await get(served, "d1")).etag
    deletions = [
        pb.ProductDeletion(name=f"{SHOP}/products/d0", etag="stale"),
        pb.ProductDeletion(name=f"{SHOP}/products/d1", etag=etag),
        pb.ProductDeletion(name=f"{SHOP}/products/nobody"),
    ]
    request = pb.DeleteProductsRequest(parent=SHOP, deletions=deletions, request_id="delete-1")
    for _ in range(2):
        response = await served.stub.DeleteProducts(request)
        assert [reason(each) for each in response.statuses] == ["ETAG_MISMATCH", "OK", "UNKNOWN_PRODUCT"]
    assert await refusal(get(served, "d1")) == ("NOT_FOUND", "UNKNOWN_PRODUCT", "")
    request = pb.DeleteProductsRequest(parent=SHOP, deletions=deletions[2:], allow_missing=True)
    assert [reason(each) for each in (await served.stub.DeleteProducts(request)).statuses] == ["OK"]


async def test_pages_list_every_product_once(served: ServedCatalog) -> None:
    listed, token = list[str](), ""
    while True:
        request = pb.ListProductsRequest(parent=SHOP, page_size=7, page_token=token)
        page = await served.stub.ListProducts(request)
        listed += [each.product.id for each in page.products]
        if not (token := page.next_page_token):
            break
    assert listed == sorted(set(listed))
    assert page.total_size == len(listed) == await served.writer.count()


async def test_tokens_of_another_list_are_refused(served: ServedCatalog) -> None:
    page = await served.stub.ListProducts(pb.ListProductsRequest(parent=SHOP, page_size=1))
    expected = ("INVALID_ARGUMENT", "INVALID_REQUEST", "page_token")
    token = page.next_page_token
    stub = served.stub
    assert await refusal(stub.ListRevisions(pb.ListRevisionsRequest(parent=SHOP, page_token=token))) == expected
    assert await refusal(stub.ListCatalogs(pb.ListCatalogsRequest(page_token=token))) == expected
    for odd in ("x", "####", token[:-4], "AAAA" * 9, "ä"):
        assert await refusal(stub.ListProducts(pb.ListProductsRequest(parent=SHOP, page_token=odd))) == expected
    negative = stub.ListProducts(pb.ListProductsRequest(parent=SHOP, page_size=-1))
    assert await refusal(negative) == ("INVALID_ARGUMENT", "INVALID_REQUEST", "page_size")


@pytest.mark.parametrize("name", ["a/b", "a%2fb", "%", "a%0Ab", "%FF", "", "a b", "i" * 257])
async def test_names_that_no_product_has_are_refused(served: ServedCatalog, name: str) -> None:
    assert await refusal(get(served, name)) == ("INVALID_ARGUMENT", "INVALID_REQUEST", "name")


async def test_unknown_catalogs_are_refused_by_every_method(served: ServedCatalog) -> None:
    other, stub = "catalogs/other", served.stub
    update = pb.ProductUpdate(name=f"{other}/products/p1", product=Product(title="x"))
    calls = [
        stub.GetCatalog(pb.GetCatalogRequest(name=other)),
        stub.GetProduct(pb.GetProductRequest(name=f"{other}/products/p1")),
        stub.ListProducts(pb.ListProductsRequest(parent=other)),
        stub.ListRevisions(pb.ListRevisionsRequest(parent=other)),
        stub.UpdateProducts(pb.UpdateProductsRequest(parent=other, updates=[update])),
        stub.DeleteProducts(pb.DeleteProductsRequest(parent=other, deletions=[pb.ProductDeletion(name="x")])),
        stub.ActivateRevision(pb.ActivateRevisionRequest(name=f"{other}/revisions/1")),
    ]
    assert [await refusal(call) for call in calls] == [("NOT_FOUND", "UNKNOWN_CATALOG", "")] * len(calls)


async def test_calls_that_concern_a_replica_are_refused_with_where_to_send_them(
    served: ServedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = served.stub
    monkeypatch.setattr(served.door.writers, "_writers", {})
    monkeypatch.setattr(served.door.writers, "replicas", frozenset({"shop"}))
    update = pb.ProductUpdate(name=f"{SHOP}/products/p1", product=Product(title="x"))
    calls = [
        stub.GetCatalog(pb.GetCatalogRequest(name=SHOP)),
        stub.UpdateProducts(pb.UpdateProductsRequest(parent=SHOP, updates=[update])),
        stub.DeleteProducts(pb.DeleteProductsRequest(parent=SHOP, deletions=[pb.ProductDeletion(name="x")])),
        stub.ActivateRevision(pb.ActivateRevisionRequest(name=f"{SHOP}/revisions/1")),
    ]
    expected = ("FAILED_PRECONDITION", "CATALOG_IS_REPLICA", "")
    assert [await refusal(call) for call in calls] == [expected] * len(calls)
    with pytest.raises(grpc.aio.AioRpcError, match="send the call to the CatalogService of the writer"):
        await upserted(served, upsert(product("p1", ready(served.embedder))))


async def test_a_write_that_comes_before_an_activation_makes_its_etag_stale(
    served: ServedCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub, append = served.stub, Log.append
    writing, release = threading.Event(), threading.Event()

    def held(*arguments: Any) -> int:
        writing.set()
        assert release.wait(30)
        return append(*arguments)

    before = (await stub.GetCatalog(pb.GetCatalogRequest(name=SHOP))).catalog
    revisions = len(served.writer.revisions)
    monkeypatch.setattr(Log, "append", held)
    write = asyncio.create_task(upserted(served, upsert(product("between", ready(served.embedder, 3)))))
    assert await asyncio.to_thread(writing.wait, 30)
    first = pb.ActivateRevisionRequest(name=f"{SHOP}/revisions/1", etag=before.etag)
    queued = asyncio.Event()
    with monkeypatch.context() as patched:
        # The writer checks it in the step in which it queues the activation.
        patched.setattr(served.writer._loop, "require_open", queued.set)
        activation = asyncio.create_task(refusal(stub.ActivateRevision(first)))
        await asyncio.wait_for(queued.wait(), 30)
    release.set()
    assert (await activation)[:2] == ("ABORTED", "ETAG_MISMATCH")
    assert [reason(status) for status in await write] == ["OK"]
    assert len(served.writer.revisions) == revisions, "the refusal made no revision"
    assert (await get(served, "between")).etag


async def test_a_revision_is_activated_and_reverted(served: ServedCatalog) -> None:
    stub = served.stub
    before = (await stub.GetCatalog(pb.GetCatalogRequest(name=SHOP))).catalog
    assert (before.embedder.id, before.embedder.dimension) == (served.embedder, DIMENSION)
    stale = pb.ActivateRevisionRequest(name=f"{SHOP}/revisions/1", etag="stale")
    assert (await refusal(stub.ActivateRevision(stale)))[:2] == ("ABORTED", "ETAG_MISMATCH")
    unknown = pb.ActivateRevisionRequest(name=f"{SHOP}/revisions/777")
    assert (await refusal(stub.ActivateRevision(unknown)))[:2] == ("NOT_FOUND", "UNKNOWN_REVISION")
    dry = pb.ActivateRevisionRequest(name=f"{SHOP}/revisions/1", validate_only=True)
    assert (await stub.ActivateRevision(dry)).revision.number == 1
    assert (await stub.GetCatalog(pb.GetCatalogRequest(name=SHOP))).catalog.etag == before.etag
    first = pb.ActivateRevisionRequest(name=f"{SHOP}/revisions/1", etag=before.etag, note="undo")
    made = (await stub.ActivateRevision(first)).revision
    assert (made.note, made.kind, made.product_count) == ("undo", pb.REVISION_KIND_ROLLBACK, 5)
    revisions = (await stub.ListRevisions(pb.ListRevisionsRequest(parent=SHOP))).revisions
    assert revisions[0] == made
    kept = next(each for each in revisions if each.kind == pb.REVISION_KIND_CHECKPOINT)
    assert kept.product_count == before.product_count
    back = (await stub.ActivateRevision(pb.ActivateRevisionRequest(name=kept.name))).revision
    assert (back.digest, back.available) == (kept.digest, True)
    page = await stub.ListRevisions(pb.ListRevisionsRequest(parent=SHOP, page_size=1))
    rest = pb.ListRevisionsRequest(parent=SHOP, page_token=page.next_page_token)
    assert (await stub.ListRevisions(rest)).revisions[0].number == page.revisions[0].number - 1
    catalogs = await stub.ListCatalogs(pb.ListCatalogsRequest())
    assert [each.name for each in catalogs.catalogs] == [SHOP]
