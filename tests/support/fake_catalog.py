"""A CatalogService in this process that keeps products in a dictionary, for the client's contract tests.

`script` decides what a call does before it is served: nothing, or a status that ends it.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from sightline.v1 import catalog_service_pb2 as pb
from sightline.v1 import catalog_service_pb2_grpc, product_pb2
from sightline_client.catalog import names
from tests.support.fake_lens import status_of

EMBEDDER = pb.Embedder(id="tiny@0123456789ab", dimension=2)
Script = Callable[[str, int], status_pb2.Status | None]


def stopping() -> status_pb2.Status:
    """The status of a server that stops."""
    return status_of(grpc.StatusCode.UNAVAILABLE, "the server is stopping")


@dataclass
class FakeCatalog(catalog_service_pb2_grpc.CatalogServiceServicer):
    """Notes every message; `broken_after` ends the n-th upsert call after so many responses.

    `lost` of these are written, but their responses are not sent.
    """

    script: Script = lambda method, call: None
    broken_after: dict[int, int] = field(default_factory=dict)
    breaks_with: status_pb2.Status = field(default_factory=stopping)
    lost: int = 0
    silent: bool = False
    products: dict[str, pb.CatalogProduct] = field(default_factory=dict)
    revisions: list[pb.Revision] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    received: list[pb.UpsertProductsRequest] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    written: dict[str, pb.ProductStatus] = field(default_factory=dict)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def begin(self, method: str, request: Any, context: Any) -> None:
        """Notes a call and ends it where the script says so."""
        self.calls.append((method, request))
        number = sum(each == method for each, _ in self.calls)
        if (status := self.script(method, number)) is not None:
            await context.abort_with_status(rpc_status.to_status(status))

    async def UpsertProducts(self, requests: Any, context: Any) -> AsyncIterator[pb.UpsertProductsResponse]:  # noqa: N802
        """One status for each product."""
        await self.begin("UpsertProducts", None, context)
        number, sent = sum(each == "UpsertProducts" for each, _ in self.calls), 0
        async for request in requests:
            async with self.arrived:
                self.received.append(request)
                self.arrived.notify_all()
            if self.silent:
                await asyncio.Event().wait()
            if self.broken_after.get(number) == sent:
                if self.lost:
                    self.upserted(request)
                await context.abort_with_status(rpc_status.to_status(self.breaks_with))
            yield pb.UpsertProductsResponse(status=self.upserted(request))
            sent += 1

    def upserted(self, request: pb.UpsertProductsRequest) -> pb.ProductStatus:
        """Writes a product once for each request id."""
        product = request.product
        name = names.product_name(names.catalog_of(request.parent), product.product.id)
        if product.product.title == "refused":
            status = status_of(grpc.StatusCode.INVALID_ARGUMENT, "images[0]: the image is corrupt")
            return pb.ProductStatus(name=name, status=status)
        if request.request_id not in self.written and not request.validate_only:
            self.writes.append(product.product.id)
            self.products[product.product.id] = product
        self.written[request.request_id] = pb.ProductStatus(name=name)
        return self.written[request.request_id]

    async def UpdateProducts(self, request: pb.UpdateProductsRequest, context: Any) -> pb.UpdateProductsResponse:  # noqa: N802
        """Applies updates to products that exist."""
        await self.begin("UpdateProducts", request, context)
        return pb.UpdateProductsResponse(statuses=[self.updated(update) for update in request.updates])

    def updated(self, update: pb.ProductUpdate) -> pb.ProductStatus:
        """The status of one update."""
        found = self.products.get(names.product_of(update.name))
        if found is None:
            return pb.ProductStatus(name=update.name, status=missing())
        if update.etag and update.etag != found.etag:
            return pb.ProductStatus(name=update.name, status=stale())
        for path in update.update_mask.paths:
            found.product.ClearField(path)
            if path == "attributes":
                found.product.attributes.update(update.product.attributes)
            else:
                setattr(found.product, path, getattr(update.product, path))
        return pb.ProductStatus(name=update.name)

    async def DeleteProducts(self, request: pb.DeleteProductsRequest, context: Any) -> pb.DeleteProductsResponse:  # noqa: N802
        """Removes products that exist."""
        await self.begin("DeleteProducts", request, context)
        statuses = []
        for deletion in request.deletions:
            found = self.products.pop(names.product_of(deletion.name), None)
            unknown = found is None and not request.allow_missing
            statuses.append(pb.ProductStatus(name=deletion.name, status=missing() if unknown else None))
        return pb.DeleteProductsResponse(statuses=statuses)

    async def GetProduct(self, request: pb.GetProductRequest, context: Any) -> pb.GetProductResponse:  # noqa: N802
        """One product."""
        await self.begin("GetProduct", request, context)
        found = self.products.get(names.product_of(request.name))
        if found is None:
            await context.abort_with_status(rpc_status.to_status(missing()))
        return pb.GetProductResponse(product=found)

    async def ListProducts(self, request: pb.ListProductsRequest, context: Any) -> pb.ListProductsResponse:  # noqa: N802
        """A page of products by id; the token is the last id of the page before."""
        await self.begin("ListProducts", request, context)
        ids = sorted(each for each in self.products if each > request.page_token)
        page = ids[: request.page_size or 50]
        return pb.ListProductsResponse(
            products=[self.products[each] for each in page],
            next_page_token=page[-1] if len(page) < len(ids) else "",
            total_size=len(self.products),
        )

    def catalog(self, name: str = "catalogs/shop") -> pb.Catalog:
        """The catalog as it is now."""
        return pb.Catalog(
            name=name,
            revision="2+2-0123456789ab",
            revision_number=2,
            product_count=len(self.products),
            pending_writes=2,
            embedder=EMBEDDER,
            etag="e1",
        )

    async def GetCatalog(self, request: pb.GetCatalogRequest, context: Any) -> pb.GetCatalogResponse:  # noqa: N802
        """The catalog, whatever its name."""
        await self.begin("GetCatalog", request, context)
        return pb.GetCatalogResponse(catalog=self.catalog(request.name))

    async def ListCatalogs(self, request: pb.ListCatalogsRequest, context: Any) -> pb.ListCatalogsResponse:  # noqa: N802
        """Two catalogs, each a page."""
        await self.begin("ListCatalogs", request, context)
        name, token = ("catalogs/b", "") if request.page_token else ("catalogs/a", "next")
        return pb.ListCatalogsResponse(catalogs=[self.catalog(name)], next_page_token=token)

    async def CreateCatalog(self, request: pb.CreateCatalogRequest, context: Any) -> pb.CreateCatalogResponse:  # noqa: N802
        """The catalog "shop" exists."""
        await self.begin("CreateCatalog", request, context)
        if request.catalog_id == "shop":
            status = status_of(grpc.StatusCode.ALREADY_EXISTS, "there is a catalog 'shop'")
            await context.abort_with_status(rpc_status.to_status(status))
        return pb.CreateCatalogResponse(catalog=self.catalog(names.catalog_name(request.catalog_id)))

    async def DeleteCatalog(self, request: pb.DeleteCatalogRequest, context: Any) -> pb.DeleteCatalogResponse:  # noqa: N802
        """Refused without force."""
        await self.begin("DeleteCatalog", request, context)
        if not request.force:
            status = status_of(grpc.StatusCode.FAILED_PRECONDITION, "the catalog has products")
            await context.abort_with_status(rpc_status.to_status(status))
        return pb.DeleteCatalogResponse()

    async def ListRevisions(self, request: pb.ListRevisionsRequest, context: Any) -> pb.ListRevisionsResponse:  # noqa: N802
        """One revision a page."""
        await self.begin("ListRevisions", request, context)
        place = int(request.page_token or 0)
        token = str(place + 1) if place + 1 < len(self.revisions) else ""
        return pb.ListRevisionsResponse(revisions=self.revisions[place : place + 1], next_page_token=token)

    async def ActivateRevision(self, request: pb.ActivateRevisionRequest, context: Any) -> pb.ActivateRevisionResponse:  # noqa: N802
        """Makes a new revision of the content of an old one."""
        await self.begin("ActivateRevision", request, context)
        number = int(request.name.rpartition("/")[2])
        found = next((each for each in self.revisions if each.number == number), None)
        if found is None:
            reason = error_details_pb2.ErrorInfo(reason="UNKNOWN_REVISION")
            status = status_of(grpc.StatusCode.NOT_FOUND, "there is no such revision", reason)
            await context.abort_with_status(rpc_status.to_status(status))
            raise AssertionError
        made = revision(len(self.revisions) + 1, pb.REVISION_KIND_ROLLBACK, found.product_count, request.note)
        self.revisions.insert(0, made)
        return pb.ActivateRevisionResponse(revision=made)


def revision(number: int, kind: pb.RevisionKind, products: int, note: str = "") -> pb.Revision:
    """A revision with every field filled."""
    made = pb.Revision(
        name=f"catalogs/shop/revisions/{number}",
        number=number,
        revision=f"{number}-0123456789ab",
        digest="0123456789ab",
        product_count=products,
        image_count=2 * products,
        kind=kind,
        note=note,
        creator="shop",
        available=True,
        generation=1,
    )
    made.create_time.FromSeconds(1_700_000_000 + number)
    return made


def missing() -> status_pb2.Status:
    """The status of a product, revision or catalog that does not exist."""
    return status_of(grpc.StatusCode.NOT_FOUND, "there is no such product")


def stale() -> status_pb2.Status:
    """The status of a write with an etag of an earlier version."""
    return status_of(grpc.StatusCode.ABORTED, "the product has changed")


def stored(product_id: str, **texts: str) -> pb.CatalogProduct:
    """A product as a catalog has it."""
    product = product_pb2.Product(id=product_id, **texts)  # type: ignore[arg-type]
    return pb.CatalogProduct(product=product, images=[pb.ProductImage(link=f"{product_id}.jpg")], etag="e1")


@contextmanager
def serving_in_thread(fake: FakeCatalog) -> Iterator[str]:
    """Serves the fake from another thread, for blocking tests; yields HOST:PORT."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    served = serving(fake)
    try:
        yield asyncio.run_coroutine_threadsafe(served.__aenter__(), loop).result(30)
    finally:
        asyncio.run_coroutine_threadsafe(served.__aexit__(None, None, None), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@asynccontextmanager
async def serving(fake: FakeCatalog) -> AsyncIterator[str]:
    """Serves the fake on a free port; yields HOST:PORT."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 * 1024 * 1024)])
    catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
