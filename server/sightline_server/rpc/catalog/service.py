"""`sightline.v1.CatalogService`: convert, ask the writer, convert.

Rule: nothing is decided here. `Edge` says in which order a call is taken, the writer when something is written.
"""

from collections.abc import Mapping
from functools import partial
from typing import TypeVar

from google.protobuf.message import Message

from sightline.v1 import catalog_service_pb2 as pb
from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.domain.request import Lane
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import CatalogWriter
from sightline_server.rpc.call import Call
from sightline_server.rpc.catalog import methods
from sightline_server.rpc.catalog.catalog_set import CatalogSet, NewCatalog, check_removal, to_new, to_planned
from sightline_server.rpc.catalog.changes import Changes, to_deletions, to_updates
from sightline_server.rpc.catalog.names import (
    catalog_in,
    check_catalog,
    page_start,
    page_token,
    product_id_in,
    revision_in,
)
from sightline_server.rpc.catalog.products import check_bytes, to_stored
from sightline_server.rpc.catalog.revisions import available, check_activation, to_catalog, to_revision
from sightline_server.rpc.catalog.statuses import unknown_product
from sightline_server.rpc.catalog.terms import check_etag
from sightline_server.rpc.catalog.upsert_fields import parent_of
from sightline_server.rpc.catalog.upserts import MARGIN_S, Upserts
from sightline_server.rpc.catalog.writers import CatalogWriters
from sightline_server.rpc.edge import Edge, Handler
from sightline_server.rpc.method import Target
from sightline_server.rpc.refusals import invalid
from sightline_server.rpc.request_stream import Respond

PAGE, LARGEST_PAGE = 50, 1000
MAX_NOTE_BYTES = 1000
PAGE_BYTES = 3 * 1024 * 1024
"""Bytes of products on a page, below the 4 MiB that gRPC clients take."""

RequestT = TypeVar("RequestT", bound=Message)


class UpsertSession:
    """`UpsertProducts` for the edge."""

    def __init__(self, writers: CatalogWriters) -> None:
        self._writers = writers

    def target(self, first: bytes) -> Target:
        """See `rpc.edge.Session`."""
        parent = parent_of(first)
        check_catalog("parent", parent)
        return Target(catalog_in(parent), Lane.BATCH)

    def open(self, catalog: CatalogPass, call: Call[pb.UpsertProductsResponse]) -> Respond[pb.UpsertProductsResponse]:
        """See `rpc.edge.Session`."""
        writer = self._writers.of(catalog)
        return Upserts(writer, self._writers.images, call.request_id, call.deadline).respond


class CatalogService:
    """The service on the listener of catalogs. `writers` is filled once the catalogs are open."""

    name = methods.SERVICE_NAME

    def __init__(self, edge: Edge, writers: CatalogWriters) -> None:
        self._edge = edge
        self._writers = writers
        self.catalogs: CatalogSet | None = None
        """Set before the admission lets calls in."""

    def handlers(self) -> Mapping[str, Handler]:
        """See `Service`."""
        handler = self._edge.handler
        session = UpsertSession(self._writers)
        return {
            "UpsertProducts": self._edge.stream_handler(methods.UPSERT_PRODUCTS, session),
            "UpdateProducts": handler(methods.UPDATE_PRODUCTS, self._to_updates, self._update),
            "DeleteProducts": handler(methods.DELETE_PRODUCTS, self._to_deletions, self._delete),
            "GetProduct": handler(methods.GET_PRODUCT, self._to_product_id, self._get_product),
            "ListProducts": handler(methods.LIST_PRODUCTS, self._to_page, self._list_products),
            "GetCatalog": handler(methods.GET_CATALOG, self._to_catalog, self._get_catalog),
            "ListCatalogs": handler(methods.LIST_CATALOGS, partial(to_page, "catalogs"), self._list_catalogs),
            "CreateCatalog": handler(methods.CREATE_CATALOG, self._to_new, self._create_catalog),
            "DeleteCatalog": handler(methods.DELETE_CATALOG, self._to_removal, self._delete_catalog),
            "ListRevisions": handler(methods.LIST_REVISIONS, self._to_page, self._list_revisions),
            "ActivateRevision": handler(methods.ACTIVATE_REVISION, self._to_activation, self._activate),
        }

    def _to_updates(
        self, request: pb.UpdateProductsRequest, catalog: CatalogPass, call: Call[pb.UpdateProductsResponse]
    ) -> Changes:
        check_catalog("parent", request.parent)
        self._writers.of(catalog)
        return to_updates(request, catalog.catalog, call.request_id)

    async def _update(self, changes: Changes, catalog: CatalogPass, call: Call[pb.UpdateProductsResponse]) -> None:
        receipt = await self._writers.of(catalog).update(
            changes.updates, changes.request_id, terms=changes.terms, deadline=call.deadline - MARGIN_S
        )
        await call.send(pb.UpdateProductsResponse(statuses=changes.statuses(receipt, call.request_id)))

    def _to_deletions(
        self, request: pb.DeleteProductsRequest, catalog: CatalogPass, call: Call[pb.DeleteProductsResponse]
    ) -> Changes:
        check_catalog("parent", request.parent)
        self._writers.of(catalog)
        return to_deletions(request, catalog.catalog, call.request_id)

    async def _delete(self, changes: Changes, catalog: CatalogPass, call: Call[pb.DeleteProductsResponse]) -> None:
        receipt = await self._writers.of(catalog).delete(
            changes.ids, changes.request_id, terms=changes.terms, deadline=call.deadline - MARGIN_S
        )
        await call.send(pb.DeleteProductsResponse(statuses=changes.statuses(receipt, call.request_id)))

    def _to_product_id(
        self, request: pb.GetProductRequest, catalog: CatalogPass, call: Call[pb.GetProductResponse]
    ) -> str:
        product_id = product_id_in("name", request.name, catalog.catalog)
        self._writers.of(catalog)
        return product_id

    async def _get_product(self, product_id: str, catalog: CatalogPass, call: Call[pb.GetProductResponse]) -> None:
        stored = await self._writers.of(catalog).get(product_id)
        if stored is None:
            raise unknown_product()
        await call.send(pb.GetProductResponse(product=to_stored(catalog.catalog, stored)))

    def _to_page(
        self,
        request: pb.ListProductsRequest | pb.ListRevisionsRequest,
        catalog: CatalogPass,
        call: Call[pb.ListProductsResponse] | Call[pb.ListRevisionsResponse],
    ) -> tuple[int, str]:
        check_catalog("parent", request.parent)
        self._writers.of(catalog)
        return to_page(scope_of(type(request), catalog.catalog), request, catalog, call)

    async def _list_products(
        self, page: tuple[int, str], catalog: CatalogPass, call: Call[pb.ListProductsResponse]
    ) -> None:
        size, after = page
        writer = self._writers.of(catalog)
        found = [to_stored(catalog.catalog, each) for each in await writer.list(after, size + 1)]
        shown = fitting(found[:size])
        scope = scope_of(pb.ListProductsRequest, catalog.catalog)
        token = page_token(scope, shown[-1].product.id) if len(shown) < len(found) else ""
        total = await writer.count()
        await call.send(pb.ListProductsResponse(products=shown, next_page_token=token, total_size=total))

    def _to_catalog(
        self, request: pb.GetCatalogRequest, catalog: CatalogPass, call: Call[pb.GetCatalogResponse]
    ) -> CatalogWriter:
        check_catalog("name", request.name)
        return self._writers.of(catalog)

    async def _get_catalog(
        self, writer: CatalogWriter, catalog: CatalogPass, call: Call[pb.GetCatalogResponse]
    ) -> None:
        await call.send(pb.GetCatalogResponse(catalog=to_catalog(writer, await writer.count())))

    async def _list_catalogs(
        self, page: tuple[int, str], catalog: CatalogPass, call: Call[pb.ListCatalogsResponse]
    ) -> None:
        size, after = page
        names = [name for name in self._writers.names if name > after and catalog.shows(name)]
        writers = [self._writers.named(name) for name in names[:size]]
        found = [each for writer in writers if (each := await unless_deleted(writer)) is not None]
        token = page_token("catalogs", names[size - 1]) if len(names) > size else ""
        await call.send(pb.ListCatalogsResponse(catalogs=found, next_page_token=token))

    def _to_new(
        self, request: pb.CreateCatalogRequest, catalog: CatalogPass, call: Call[pb.CreateCatalogResponse]
    ) -> tuple[NewCatalog, bool]:
        return to_new(request), request.validate_only

    async def _create_catalog(
        self, wanted: tuple[NewCatalog, bool], catalog: CatalogPass, call: Call[pb.CreateCatalogResponse]
    ) -> None:
        (new, validate_only), catalogs = wanted, self._changing()
        if validate_only:
            created = to_planned(new.name, catalogs.check_new(new))
        else:
            created = to_catalog(await catalogs.create(new), 0)
        await call.send(pb.CreateCatalogResponse(catalog=created))

    def _to_removal(
        self, request: pb.DeleteCatalogRequest, catalog: CatalogPass, call: Call[pb.DeleteCatalogResponse]
    ) -> pb.DeleteCatalogRequest:
        check_catalog("name", request.name)
        check_etag("etag", request.etag)
        self._writers.of(catalog)
        return request

    async def _delete_catalog(
        self, request: pb.DeleteCatalogRequest, catalog: CatalogPass, call: Call[pb.DeleteCatalogResponse]
    ) -> None:
        writer, catalogs = self._writers.of(catalog), self._changing()
        if request.validate_only:
            catalogs.check_removable(catalog.catalog)
            check_removal(request, writer, await writer.count())
        else:
            await catalogs.remove(catalog.catalog, partial(check_removal, request, writer))
        await call.send(pb.DeleteCatalogResponse())

    def _changing(self) -> CatalogSet:
        assert self.catalogs is not None, "admission lets no call in before it is set"
        return self.catalogs

    async def _list_revisions(
        self, page: tuple[int, str], catalog: CatalogPass, call: Call[pb.ListRevisionsResponse]
    ) -> None:
        size, after = page
        found = [each for each in self._writers.of(catalog).revisions if not after or each.number < int(after)]
        shown = [to_revision(catalog.catalog, each) for each in found[:size]]
        scope = scope_of(pb.ListRevisionsRequest, catalog.catalog)
        token = page_token(scope, str(shown[-1].number)) if len(found) > size else ""
        await call.send(pb.ListRevisionsResponse(revisions=shown, next_page_token=token))

    def _to_activation(
        self, request: pb.ActivateRevisionRequest, catalog: CatalogPass, call: Call[pb.ActivateRevisionResponse]
    ) -> tuple[int, pb.ActivateRevisionRequest]:
        number = revision_in("name", request.name)
        check_bytes("note", request.note, MAX_NOTE_BYTES)
        check_etag("etag", request.etag)
        available(self._writers.of(catalog), number)
        return number, request

    async def _activate(
        self,
        wanted: tuple[int, pb.ActivateRevisionRequest],
        catalog: CatalogPass,
        call: Call[pb.ActivateRevisionResponse],
    ) -> None:
        (number, request), writer = wanted, self._writers.of(catalog)
        check = partial(check_activation, request, writer, number)
        if request.validate_only:
            revision = check()
        else:
            revision = await writer.activate(number, request.note, check=check)
        await call.send(pb.ActivateRevisionResponse(revision=to_revision(catalog.catalog, revision)))


async def unless_deleted(writer: CatalogWriter) -> pb.Catalog | None:
    """The catalog of `writer`; None where it has been deleted meanwhile."""
    try:
        return to_catalog(writer, await writer.count())
    except SightlineError as error:
        if error.kind is ErrorKind.UNKNOWN_CATALOG:
            return None
        raise


def scope_of(kind: type[Message], catalog: str) -> str:
    """The list that a page token belongs to."""
    return f"{kind.DESCRIPTOR.name} {catalog}"


def to_page(
    scope: str,
    request: pb.ListProductsRequest | pb.ListRevisionsRequest | pb.ListCatalogsRequest,
    catalog: CatalogPass,
    call: object,
) -> tuple[int, str]:
    """The size of the page, and what it comes after. Raises `SightlineError`."""
    if request.page_size < 0:
        raise invalid("page_size", "must be 0 or more")
    return min(request.page_size or PAGE, LARGEST_PAGE), page_start(scope, request.page_token)


def fitting(products: list[pb.CatalogProduct]) -> list[pb.CatalogProduct]:
    """The first of the products that fit into one message; at least one where there is one."""
    size, shown = 0, list[pb.CatalogProduct]()
    for each in products:
        size += each.ByteSize() + 8
        if shown and size > PAGE_BYTES:
            break
        shown.append(each)
    return shown
