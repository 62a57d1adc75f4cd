"""The catalog client against a CatalogService in this process: upserts, retries, pages, errors."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from decimal import Decimal

import grpc
import pytest

from sightline.v1 import catalog_service_pb2 as pb
from sightline_client import (
    AlreadyExistsError,
    AsyncCatalogClient,
    CatalogClient,
    CatalogProduct,
    ClientOptions,
    ClientStateError,
    ConfigurationError,
    ConflictError,
    DeadlineExceededError,
    Embedding,
    FailedPreconditionError,
    InvalidRequestError,
    NotBuiltError,
    NotFoundError,
    Price,
    ProductDeletion,
    ProductImage,
    ProductUpdate,
    RequestTooLargeError,
    RetryOptions,
    RevisionKind,
    UnavailableError,
)
from tests.support.fake_catalog import FakeCatalog, revision, serving, stopping, stored
from tests.support.fake_lens import FakeLens, status_of
from tests.support.fake_lens import serving as serving_lens

IMAGE = b"\xff\xd8 an image"


def product(number: int, title: str = "") -> CatalogProduct:
    return CatalogProduct(f"p{number}", images=[IMAGE], title=title)


def reach(target: str, **options: object) -> ClientOptions:
    return ClientOptions(target, retry=RetryOptions(first_delay_s=0.001), **options)  # type: ignore[arg-type]


async def upserted(client: AsyncCatalogClient, products: object, **options: object) -> list[tuple[int, str, bool]]:
    statuses = client.upsert("shop", products, **options)  # type: ignore[arg-type]
    return [(each.index, each.id, each.ok) async for each in statuses]


async def test_a_product_is_sent_with_every_field() -> None:
    fake = FakeCatalog()
    full = CatalogProduct(
        "a/b c",
        images=[
            ProductImage(IMAGE, "1.jpg"),
            ProductImage(Embedding("tiny@0", [0.5, -1]), "2.jpg"),
            memoryview(IMAGE),
        ],
        title="Chair",
        price=Price(Decimal("15.00"), "USD"),
        availability="in_stock",
        image_link="0.jpg",
        attributes={"color": "red"},
        etag="e7",
    )
    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        assert await upserted(client, [full]) == [(0, "a/b c", True)]
        sent = fake.received[0]
        assert (sent.parent, sent.validate_only, len(sent.request_id)) == ("catalogs/shop", False, 32)
        assert sent.product.etag == "e7"
        assert [image.WhichOneof("content") for image in sent.product.images] == ["data", "embedding", "data"]
        assert list(sent.product.images[1].embedding.values) == [0.5, -1]
        found = await client.get("shop", "a/b c")
    assert fake.calls[-1][1].name == "catalogs/shop/products/a%2Fb%20c"
    assert (found.price, found.attributes) == (Price(Decimal("15.00"), "USD"), {"color": "red"})
    assert found.images == (ProductImage(link="1.jpg"), ProductImage(link="2.jpg"), ProductImage())
    assert "an image" not in repr(full)
    assert "0.5" not in repr(full)


async def test_a_product_that_cannot_be_sent_has_its_error_as_its_status() -> None:
    fake = FakeCatalog()
    given = [product(0), CatalogProduct("none"), product(2, "refused"), CatalogProduct("", images=[IMAGE]), product(4)]
    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        statuses = [each async for each in client.upsert("shop", given)]
    assert [(each.index, each.id, each.ok) for each in statuses] == [
        (0, "p0", True),
        (1, "none", False),
        (2, "p2", False),
        (3, "", False),
        (4, "p4", True),
    ]
    assert str(statuses[1].error) == "images must have at least one image"
    assert isinstance(statuses[2].error, InvalidRequestError)
    assert str(statuses[2].error) == "images[0]: the image is corrupt"
    assert [request.product.product.id for request in fake.received] == ["p0", "p2", "p4"]


async def test_a_broken_call_is_made_again_and_each_product_is_written_once() -> None:
    fake = FakeCatalog(broken_after={1: 2, 2: 1}, lost=1)
    async with serving(fake) as target, AsyncCatalogClient(reach(target)) as client:
        statuses = await upserted(client, [product(number) for number in range(6)])
    assert statuses == [(number, f"p{number}", True) for number in range(6)]
    assert fake.writes == [f"p{number}" for number in range(6)]
    assert len(fake.calls) == 3
    assert len(fake.received) > 6


async def test_a_call_that_the_server_ends_as_idle_is_made_again_however_often() -> None:
    idle = status_of(grpc.StatusCode.DEADLINE_EXCEEDED, "no message came for 60 s")
    fake = FakeCatalog(broken_after=dict.fromkeys(range(1, 12), 1), breaks_with=idle)
    async with serving(fake) as target, AsyncCatalogClient(reach(target)) as client:
        statuses = await upserted(client, [product(number) for number in range(12)])
    assert [ok for _, _, ok in statuses] == [True] * 12
    assert fake.writes == [f"p{number}" for number in range(12)]


async def test_a_server_that_ends_every_call_as_idle_ends_the_upsert() -> None:
    idle = status_of(grpc.StatusCode.DEADLINE_EXCEEDED, "no message came for 60 s")
    async with serving(FakeCatalog(script=lambda method, call: idle)) as target, AsyncCatalogClient(target) as client:
        with pytest.raises(DeadlineExceededError):
            await upserted(client, [product(0)])


async def test_a_server_that_stays_away_ends_the_upsert_after_its_attempts() -> None:
    fake = FakeCatalog(script=lambda method, call: stopping())
    async with serving(fake) as target, AsyncCatalogClient(reach(target)) as client:
        with pytest.raises(UnavailableError, match="stopping"):
            await upserted(client, [product(0)])
    assert len(fake.calls) == 3


async def test_products_are_taken_only_while_there_is_room() -> None:
    fake, taken = FakeCatalog(), list[int]()

    async def endless() -> AsyncIterator[CatalogProduct]:
        number = 0
        while True:
            taken.append(number)
            yield product(number)
            number += 1

    async with (
        serving(fake) as target,
        AsyncCatalogClient(target) as client,
        aclosing(client.upsert("shop", endless(), in_flight=4)) as statuses,
    ):
        await anext(statuses)
        async with fake.arrived:
            await fake.arrived.wait_for(lambda: len(fake.received) >= 4)
        for _ in range(3):
            await anext(statuses)
        assert len(taken) <= 4 + 4


async def test_statuses_come_while_the_caller_waits_for_them_before_the_next_product() -> None:
    fake, answered = FakeCatalog(), asyncio.Event()

    async def one_by_one() -> AsyncIterator[CatalogProduct]:
        for number in range(3):
            yield product(number)
            await answered.wait()
            answered.clear()

    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        async for _ in client.upsert("shop", one_by_one()):
            answered.set()
    assert fake.writes == ["p0", "p1", "p2"]


async def test_an_error_of_the_callers_iterable_comes_after_the_statuses_before_it() -> None:
    def broken() -> Iterator[CatalogProduct]:
        yield product(0)
        raise KeyError("feed")

    async with serving(FakeCatalog()) as target, AsyncCatalogClient(target) as client:
        statuses = client.upsert("shop", broken())
        assert (await anext(statuses)).id == "p0"
        with pytest.raises(KeyError, match="feed"):
            await anext(statuses)


async def test_no_products_make_no_call() -> None:
    fake = FakeCatalog()
    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        assert await upserted(client, []) == []
    assert fake.calls == []


async def test_a_status_that_does_not_come_is_an_exceeded_deadline() -> None:
    async with serving(FakeCatalog(silent=True)) as target, AsyncCatalogClient(target) as client:
        with pytest.raises(DeadlineExceededError, match=r"no status came within 0\.2 s"):
            await upserted(client, [product(0)], timeout_s=0.2)


async def test_closing_the_client_ends_an_upsert() -> None:
    fake = FakeCatalog(silent=True)
    async with serving(fake) as target:
        client = AsyncCatalogClient(target)
        running = asyncio.create_task(upserted(client, [product(0)]))
        async with fake.arrived:
            await fake.arrived.wait_for(lambda: fake.received)
        await client.close()
        with pytest.raises(ClientStateError, match="the client is closed"):
            await running
        with pytest.raises(ClientStateError, match="the client is closed"):
            await client.get("shop", "p0")


async def test_validate_only_is_passed_on() -> None:
    fake = FakeCatalog()
    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        assert await upserted(client, [product(0)], validate_only=True) == [(0, "p0", True)]
        await client.delete("shop", ["p0"], validate_only=True)
    assert fake.received[0].validate_only
    assert fake.calls[-1][1].validate_only
    assert fake.writes == []


async def test_an_update_names_the_fields_that_it_changes() -> None:
    fake = FakeCatalog(products={"p0": stored("p0", title="Chair", price="1 USD", brand="Nordhem")})
    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        (status,) = await client.update("shop", [ProductUpdate("p0", title="Stool", price=None, brand="")])
        sent = fake.calls[0][1]
        found = await client.get("shop", "p0")
    assert status.ok
    assert set(sent.updates[0].update_mask.paths) == {"title", "price", "brand"}
    assert (found.title, found.price, found.brand) == ("Stool", None, "")


async def test_updates_have_an_error_each_and_those_at_fault_are_not_sent() -> None:
    fake = FakeCatalog(products={"p0": stored("p0")})
    updates = [
        ProductUpdate("p0", price=Price(Decimal(-1), "USD")),
        ProductUpdate("p0", title="x", etag="old"),
        ProductUpdate("none", title="x"),
        ProductUpdate("p0"),
        ProductUpdate("p0", title="new", etag="e1"),
    ]
    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        statuses = await client.update("shop", updates)
    assert [type(each.error) for each in statuses] == [
        InvalidRequestError,
        ConflictError,
        NotFoundError,
        InvalidRequestError,
        type(None),
    ]
    assert str(statuses[0].error) == "price.amount must be 0 or more, not -1"
    assert len(fake.calls[0][1].updates) == 3
    assert fake.products["p0"].product.title == "new"


async def test_many_deletions_are_several_requests_with_an_id_each() -> None:
    fake = FakeCatalog(products={f"p{number}": stored(f"p{number}") for number in range(1500)})
    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        statuses = await client.delete("shop", [*fake.products, "none", ProductDeletion("p0", etag="e1")])
    sent = [request for _, request in fake.calls]
    assert [len(request.deletions) for request in sent] == [1000, 502]
    assert len({request.request_id for request in sent}) == 2
    assert [each.index for each in statuses] == list(range(1502))
    assert [each.ok for each in statuses[-3:]] == [True, False, False]
    assert fake.products == {}


async def test_a_repeated_write_has_the_same_request_id() -> None:
    fake = FakeCatalog(script=lambda method, call: stopping() if call == 1 else None)
    async with serving(fake) as target, AsyncCatalogClient(reach(target)) as client:
        await client.delete("shop", ["p0"], allow_missing=True)
    assert len({request.request_id for _, request in fake.calls}) == 1
    assert len(fake.calls) == 2


async def test_what_has_no_request_id_is_not_repeated() -> None:
    fake = FakeCatalog(script=lambda method, call: stopping() if call == 1 else None)
    async with serving(fake) as target, AsyncCatalogClient(reach(target)) as client:
        for call in (client.activate("shop", 1), client.create_catalog("new"), client.delete_catalog("new")):
            with pytest.raises(UnavailableError):
                await call
    assert len(fake.calls) == 3


async def test_lists_go_from_page_to_page() -> None:
    fake = FakeCatalog(products={f"p{number}": stored(f"p{number}") for number in range(5)})
    fake.revisions = [
        revision(2, pb.REVISION_KIND_CHECKPOINT, 5, "delete of 1 products"),
        revision(1, pb.REVISION_KIND_BUILD, 6),
    ]
    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        ids = [each.id async for each in client.products("shop", page_size=2)]
        catalogs = [each.name async for each in client.catalogs()]
        revisions = [each async for each in client.revisions("shop")]
        info = await client.catalog("shop")
    assert ids == [f"p{number}" for number in range(5)]
    assert catalogs == ["a", "b"]
    assert [(each.number, each.kind, each.products, each.images) for each in revisions] == [
        (2, RevisionKind.CHECKPOINT, 5, 10),
        (1, RevisionKind.BUILD, 6, 12),
    ]
    assert revisions[0].created_at is not None
    assert revisions[0].created_at.isoformat() == "2023-11-14T22:13:22+00:00"
    assert (info.name, info.products, info.pending_writes, info.embedder, info.dimension, info.updated_at) == (
        *("shop", 5, 2, "tiny@0123456789ab", 2),
        None,
    )
    assert [method for method, _ in fake.calls].count("ListProducts") == 3


async def test_a_rollback_is_a_new_revision() -> None:
    fake = FakeCatalog(revisions=[revision(1, pb.REVISION_KIND_BUILD, 6)])
    async with serving(fake) as target, AsyncCatalogClient(target) as client:
        made = await client.activate("shop", 1, etag="e1", note="back")
        with pytest.raises(NotFoundError):
            await client.activate("shop", 9)
    assert (made.number, made.kind, made.products, made.note) == (2, RevisionKind.ROLLBACK, 6, "back")
    assert (fake.calls[0][1].name, fake.calls[0][1].etag) == ("catalogs/shop/revisions/1", "e1")


async def test_each_meaning_has_its_class() -> None:
    async with serving(FakeCatalog()) as target, AsyncCatalogClient(target) as client:
        with pytest.raises(AlreadyExistsError):
            await client.create_catalog("shop")
        with pytest.raises(FailedPreconditionError):
            await client.delete_catalog("shop")
        await client.delete_catalog("shop", force=True)
        with pytest.raises(NotFoundError):
            await client.get("shop", "none")


async def test_a_server_without_the_service_is_named_as_such() -> None:
    async with serving_lens(FakeLens()) as target, AsyncCatalogClient(target) as client:
        for call in (client.catalog("shop"), upserted(client, [product(0)])):
            with pytest.raises(NotBuiltError, match=r"server\.catalog_listen"):
                await call


async def test_a_product_over_the_limit_is_not_sent() -> None:
    fake = FakeCatalog()
    images = [b"x" * 900_000] * 4
    async with serving(fake) as target, AsyncCatalogClient(reach(target, max_photo_bytes=1_000_000)) as client:
        given = [CatalogProduct("large", images=images), CatalogProduct("larger", images=[b"x" * 1_000_001])]
        statuses = [each async for each in client.upsert("shop", given)]
    assert isinstance(statuses[0].error, RequestTooLargeError)
    assert "images[0].content has 1000001 bytes, the limit is 1000000" in str(statuses[1].error)
    assert fake.calls == []


@pytest.mark.parametrize("catalog", ["", "a/b", 5, None])
async def test_a_name_that_is_none_is_refused_before_a_call(catalog: object) -> None:
    async with AsyncCatalogClient("127.0.0.1:1") as client:
        for call in (client.catalog(catalog), upserted_to(client, catalog), client.delete(catalog, ["a"])):  # type: ignore[arg-type]
            with pytest.raises(InvalidRequestError, match=r"^catalog must") as caught:
                await call
            assert caught.value.violations[0].field == "catalog"


async def upserted_to(client: AsyncCatalogClient, catalog: object) -> None:
    async for _ in client.upsert(catalog, [product(0)]):  # type: ignore[arg-type]
        pass


async def test_another_machine_needs_tls() -> None:
    with pytest.raises(ConfigurationError, match="would not be encrypted"):
        AsyncCatalogClient("shop.example:8082")


async def test_the_blocking_client_does_the_same() -> None:
    fake = FakeCatalog(revisions=[revision(1, pb.REVISION_KIND_BUILD, 6)], broken_after={1: 1}, lost=1)
    threads = set()

    def given() -> Iterator[CatalogProduct]:
        for number in range(3):
            threads.add(threading.current_thread().name)
            yield product(number)

    def use(target: str) -> None:
        with CatalogClient(reach(target)) as client:
            assert [(each.index, each.id, each.ok) for each in client.upsert("shop", given())] == [
                (number, f"p{number}", True) for number in range(3)
            ]
            (status,) = client.update("shop", [ProductUpdate("p0", title="new")])
            assert status.ok
            assert client.get("shop", "p0").title == "new"
            assert [each.id for each in client.products("shop", page_size=1)] == ["p0", "p1", "p2"]
            assert [each.name for each in client.catalogs()] == ["a", "b"]
            assert [each.number for each in client.revisions("shop")] == [1]
            assert client.activate("shop", 1).number == 2
            assert client.create_catalog("new", embedder="embedder-wide").name == "new"
            assert fake.calls[-1][1].embedder == "embedder-wide"
            client.delete_catalog("new", force=True)
            assert client.catalog("shop").products == 3
            assert [each.ok for each in client.delete("shop", ["p0", "none"])] == [True, False]
        with pytest.raises(ClientStateError, match="closed"):
            client.get("shop", "p0")

    async with serving(fake) as target:
        await asyncio.to_thread(use, target)
    assert fake.writes == ["p0", "p1", "p2"]
    assert threads == {"sightline-products"}


async def test_a_blocking_reader_may_stop_early_and_errors_of_its_products_reach_it() -> None:
    closed = threading.Event()

    def endless() -> Iterator[CatalogProduct]:
        try:
            while True:
                yield product(0)
        finally:
            closed.set()

    def broken() -> Iterator[CatalogProduct]:
        yield product(0)
        raise SystemExit(3)

    def use(target: str) -> None:
        with CatalogClient(target) as client:
            statuses = client.upsert("shop", endless())
            assert next(statuses).ok
            statuses.close()
            assert closed.wait(10)
            with pytest.raises(RuntimeError, match="SystemExit"):
                list(client.upsert("shop", broken()))
            assert client.catalog("shop").name == "shop"

    async with serving(FakeCatalog()) as target:
        await asyncio.to_thread(use, target)


async def test_closing_the_blocking_client_ends_a_reader_in_another_thread() -> None:
    fake = FakeCatalog(silent=True)
    raised = list[BaseException]()

    def read(client: CatalogClient) -> None:
        try:
            list(client.upsert("shop", [product(0)]))
        except BaseException as error:
            raised.append(error)

    async with serving(fake) as target:
        client = await asyncio.to_thread(CatalogClient, target)
        reader = threading.Thread(target=read, args=(client,))
        reader.start()
        async with fake.arrived:
            await fake.arrived.wait_for(lambda: fake.received)
        await asyncio.to_thread(client.close)
        await asyncio.to_thread(reader.join, 10)
    assert [type(each) for each in raised] == [ClientStateError]
