"""The asynchronous client of CatalogService.

Rule: everything that it raises is a `SightlineError`, but for the cancellation of its caller's own task and for what
the caller's own iterable raises.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self, TypeVar

from google.protobuf.message import Message

from sightline.v1 import catalog_service_pb2 as pb
from sightline_client import values
from sightline_client.aio import as_options
from sightline_client.calls import Calls
from sightline_client.catalog import checks, convert, names, requests, write_groups
from sightline_client.catalog.products import CatalogProduct, ProductDeletion, ProductStatus, ProductUpdate
from sightline_client.catalog.revisions import CatalogInfo, Revision
from sightline_client.catalog.transfers import Transfers
from sightline_client.catalog.upserts import Upsert, UpsertCall, UpsertMethod
from sightline_client.options import MIB, ClientOptions
from sightline_client.wording import CATALOG

SERVICE = pb.DESCRIPTOR.services_by_name["CatalogService"].full_name
IN_FLIGHT = 64
"""Products of one upsert that may wait for their status."""
STATUS_TIMEOUT_S = 60.0
"""Longest wait for one status of an upsert; the images of the products before it are embedded first."""
CALL_S = 3600.0
"""Deadline of one call of an upsert, which then goes on in another; without one the server would set a shorter one."""

M = TypeVar("M", bound=Message)


class AsyncCatalogClient:
    """Changes and reads the catalogs of one server. Use it in one event loop; share it between tasks.

    ```python
    async with AsyncCatalogClient("127.0.0.1:50052") as client:
        async for status in client.upsert("shop", products):
            ...
    ```
    """

    def __init__(
        self,
        options: ClientOptions | str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`options` may be just the address of the server's `server.catalog_listen`, if it is on this machine.

        Raises `ConfigurationError` for options and files that cannot be used.
        """
        self._options = as_options(options)
        self._calls = Calls(self._options, CATALOG, clock=clock, sleep=sleep)
        self._upserts: set[Upsert] = set()
        self.transfers = Transfers(self._calls)
        """Imports of feeds and exports of catalogs that the server runs."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends calls that still run, with `ClientStateError` for their callers, and closes every channel."""
        self._calls.channels.begin_close()
        await asyncio.gather(*(upsert.end() for upsert in list(self._upserts)))
        await self._calls.close()

    async def upsert(
        self,
        catalog: str,
        products: requests.Products,
        *,
        validate_only: bool = False,
        in_flight: int = IN_FLIGHT,
        timeout_s: float = STATUS_TIMEOUT_S,
    ) -> AsyncGenerator[ProductStatus, None]:
        """Adds products, or replaces those of the same id, and yields what became of each, in their order.

        Products are taken from the iterable while fewer than `in_flight` of them wait for their status to be read. A
        product that cannot be stored has an error in its status; the others are stored. `validate_only` checks and
        writes nothing. `timeout_s` is the longest wait for one status. Leave the loop early with
        `contextlib.aclosing`: products without a status may have been written. Raises `SightlineError`.
        """
        requests.require_iterable("products", products, of="CatalogProduct", asynchronous=True)
        limits = self._options.max_photo_bytes, self._options.max_photo_bytes + MIB
        messages = requests.Upserts(
            requests.catalog_name(catalog), requests.checked("validate_only", checks.flag, validate_only), *limits
        )
        room = requests.checked("in_flight", lambda value: values.integer(value, 1, 100_000), in_flight)
        patience_s = requests.checked("timeout_s", values.timeout, timeout_s)
        upsert = Upsert(
            self._calls,
            self._start_upsert,
            lambda: self.catalog(catalog),
            messages.all(products),
            room,
            patience_s,
        )
        self._upserts.add(upsert)
        try:
            while (outcome := await upsert.next()) is not None:
                yield outcome
        finally:
            await upsert.end()
            self._upserts.discard(upsert)

    async def update(
        self,
        catalog: str,
        updates: Iterable[ProductUpdate],
        *,
        validate_only: bool = False,
        timeout_s: float | None = None,
    ) -> tuple[ProductStatus, ...]:
        """Changes fields of products; their images and embeddings stay. Returns what became of each, in their order.

        Up to 1,000 updates, or 1 MiB of them, are one transaction; `timeout_s` is the deadline of each. Raises
        `SightlineError`; updates of earlier transactions are written then.
        """
        requests.require_iterable("updates", updates, of="ProductUpdate")
        outcomes: list[ProductStatus] = []
        for message, group in write_groups.updates(catalog, updates, validate_only):
            outcomes += await self._write("UpdateProducts", message, pb.UpdateProductsResponse, group, timeout_s)
        return tuple(outcomes)

    async def delete(
        self,
        catalog: str,
        products: Iterable[str | ProductDeletion],
        *,
        allow_missing: bool = False,
        validate_only: bool = False,
        timeout_s: float | None = None,
    ) -> tuple[ProductStatus, ...]:
        """Deletes products by id. Returns what became of each, in their order.

        A product that does not exist has a `NotFoundError`, unless `allow_missing` is set. Transactions and deadlines
        are those of `update`. Raises `SightlineError`.
        """
        requests.require_iterable("products", products, of="ids or ProductDeletion")
        outcomes: list[ProductStatus] = []
        for message, group in write_groups.deletions(catalog, products, allow_missing, validate_only):
            outcomes += await self._write("DeleteProducts", message, pb.DeleteProductsResponse, group, timeout_s)
        return tuple(outcomes)

    async def get(self, catalog: str, product_id: str, *, timeout_s: float | None = None) -> CatalogProduct:
        """One product as it is stored, with the links of its images. Raises `SightlineError`."""
        requests.catalog_name(catalog)
        name = names.product_name(catalog, requests.checked("product_id", checks.required_text, product_id))
        answer = await self._call("GetProduct", pb.GetProductRequest(name=name), pb.GetProductResponse, timeout_s)
        return convert.product_from_pb(answer.product)

    async def products(
        self, catalog: str, *, page_size: int = 0, timeout_s: float | None = None
    ) -> AsyncGenerator[CatalogProduct, None]:
        """Every product of a catalog by id, page by page; `timeout_s` is the deadline of a page.

        A product that is there during the whole listing is yielded once. Raises `SightlineError`.
        """
        message = pb.ListProductsRequest(parent=requests.catalog_name(catalog), page_size=requests.page_size(page_size))
        while True:
            answer = await self._call("ListProducts", message, pb.ListProductsResponse, timeout_s)
            for product in answer.products:
                yield convert.product_from_pb(product)
            if not answer.next_page_token:
                return
            message.page_token = answer.next_page_token

    async def catalog(self, catalog: str, *, timeout_s: float | None = None) -> CatalogInfo:
        """One catalog. Raises `SightlineError`."""
        message = pb.GetCatalogRequest(name=requests.catalog_name(catalog))
        answer = await self._call("GetCatalog", message, pb.GetCatalogResponse, timeout_s)
        return convert.catalog_from_pb(answer.catalog)

    async def catalogs(
        self, *, page_size: int = 0, timeout_s: float | None = None
    ) -> AsyncGenerator[CatalogInfo, None]:
        """Every catalog that the caller may use, page by page. Raises `SightlineError`."""
        message = pb.ListCatalogsRequest(page_size=requests.page_size(page_size))
        while True:
            answer = await self._call("ListCatalogs", message, pb.ListCatalogsResponse, timeout_s)
            for catalog in answer.catalogs:
                yield convert.catalog_from_pb(catalog)
            if not answer.next_page_token:
                return
            message.page_token = answer.next_page_token

    async def create_catalog(
        self, catalog: str, *, embedder: str = "", validate_only: bool = False, timeout_s: float | None = None
    ) -> CatalogInfo:
        """Makes an empty catalog. Never repeated by the client. Raises `SightlineError`.

        `embedder` is the id, the name or the folder of one that the server has; by default its first one.
        """
        message = requests.creation(catalog, embedder, validate_only)
        answer = await self._call(
            "CreateCatalog", message, pb.CreateCatalogResponse, timeout_s, repeatable=message.validate_only
        )
        return convert.catalog_from_pb(answer.catalog)

    async def delete_catalog(
        self,
        catalog: str,
        *,
        etag: str = "",
        force: bool = False,
        validate_only: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        """Removes a catalog with its revisions; `force` also one that has products. Never repeated by the client.

        Raises `SightlineError`.
        """
        message = requests.removal(catalog, etag, force, validate_only)
        await self._call(
            "DeleteCatalog", message, pb.DeleteCatalogResponse, timeout_s, repeatable=message.validate_only
        )

    async def revisions(
        self, catalog: str, *, page_size: int = 0, timeout_s: float | None = None
    ) -> AsyncGenerator[Revision, None]:
        """Every revision of a catalog, the newest first, page by page. Raises `SightlineError`."""
        message = pb.ListRevisionsRequest(
            parent=requests.catalog_name(catalog), page_size=requests.page_size(page_size)
        )
        while True:
            answer = await self._call("ListRevisions", message, pb.ListRevisionsResponse, timeout_s)
            for revision in answer.revisions:
                yield convert.revision_from_pb(revision)
            if not answer.next_page_token:
                return
            message.page_token = answer.next_page_token

    async def activate(
        self,
        catalog: str,
        revision: int,
        *,
        etag: str = "",
        note: str = "",
        validate_only: bool = False,
        timeout_s: float | None = None,
    ) -> Revision:
        """Makes the content equal to that of an earlier revision, and returns the new revision that this is.

        Never repeated by the client. Raises `SightlineError`.
        """
        message = requests.activation(catalog, revision, etag, note, validate_only)
        answer = await self._call(
            "ActivateRevision", message, pb.ActivateRevisionResponse, timeout_s, repeatable=message.validate_only
        )
        return convert.revision_from_pb(answer.revision)

    async def _start_upsert(self) -> UpsertCall:
        metadata = await self._calls.metadata(self._options.timeout_s)
        method: UpsertMethod = self._calls.channels.next().stream_stream(f"/{SERVICE}/UpsertProducts")
        return method(timeout=CALL_S, metadata=metadata)

    async def _write(
        self,
        method: str,
        message: Message,
        answer: type[pb.UpdateProductsResponse] | type[pb.DeleteProductsResponse],
        group: list[write_groups.Part],
        timeout_s: float | None,
    ) -> list[ProductStatus]:
        """The outcome of each part of a group; a group of which nothing can be sent is not sent."""
        sent = write_groups.sends(group)
        statuses = (await self._call(method, message, answer, timeout_s)).statuses if sent else ()
        return write_groups.outcomes(method, group, statuses)

    async def _call(
        self, method: str, message: Message, answer: type[M], timeout_s: float | None, *, repeatable: bool = True
    ) -> M:
        return await self._calls.message(f"/{SERVICE}/{method}", message, answer, timeout_s, repeatable=repeatable)
