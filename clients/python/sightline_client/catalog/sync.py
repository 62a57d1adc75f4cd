"""The blocking client of CatalogService: the asynchronous one, run on an event loop in a separate thread.

Rule: as `sync.Client`, no second implementation. Make it after a fork, never before.
"""

from collections.abc import Generator, Iterable
from types import TracebackType
from typing import Self

from sightline_client.background import Background
from sightline_client.catalog import requests
from sightline_client.catalog.aio import IN_FLIGHT, STATUS_TIMEOUT_S, AsyncCatalogClient
from sightline_client.catalog.blocking_transfers import BlockingTransfers
from sightline_client.catalog.feeding import closing_both, fed
from sightline_client.catalog.products import CatalogProduct, ProductDeletion, ProductStatus, ProductUpdate
from sightline_client.catalog.revisions import CatalogInfo, Revision
from sightline_client.options import ClientOptions


class CatalogClient:
    """Changes and reads the catalogs of one server, from any thread. Methods are those of `AsyncCatalogClient`.

    ```python
    with CatalogClient("127.0.0.1:50052") as client:
        for status in client.upsert("shop", products):
            ...
    ```
    """

    def __init__(self, options: ClientOptions | str) -> None:
        """`options` may be just the address of the server's `server.catalog_listen`, if it is on this machine.

        Raises `ConfigurationError` for options and files that cannot be used.
        """
        self._client = AsyncCatalogClient(options)
        self._background = Background()
        self.transfers = BlockingTransfers(self._client.transfers, self._background)
        """Imports of feeds and exports of catalogs that the server runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends calls that still run, with `ClientStateError` for their callers, and closes every channel."""
        self._background.close(self._client.close)

    def upsert(
        self,
        catalog: str,
        products: Iterable[CatalogProduct],
        *,
        validate_only: bool = False,
        in_flight: int = IN_FLIGHT,
        timeout_s: float = STATUS_TIMEOUT_S,
    ) -> Generator[ProductStatus, None, None]:
        """Adds products, or replaces those of the same id, and yields what became of each, in their order.

        The iterable runs in a separate thread, so it may block. Raises `SightlineError`.
        """
        requests.require_iterable("products", products, of="CatalogProduct")
        source = fed(products)
        outcomes = self._client.upsert(
            catalog, source, validate_only=validate_only, in_flight=in_flight, timeout_s=timeout_s
        )
        yield from self._background.iterate(closing_both(outcomes, source))

    def update(
        self,
        catalog: str,
        updates: Iterable[ProductUpdate],
        *,
        validate_only: bool = False,
        timeout_s: float | None = None,
    ) -> tuple[ProductStatus, ...]:
        """Changes fields of products; their images and embeddings stay. Raises `SightlineError`."""
        requests.require_iterable("updates", updates, of="ProductUpdate")
        return self._background.result(
            self._client.update(catalog, list(updates), validate_only=validate_only, timeout_s=timeout_s)
        )

    def delete(
        self,
        catalog: str,
        products: Iterable[str | ProductDeletion],
        *,
        allow_missing: bool = False,
        validate_only: bool = False,
        timeout_s: float | None = None,
    ) -> tuple[ProductStatus, ...]:
        """Deletes products by id. Raises `SightlineError`."""
        requests.require_iterable("products", products, of="ids or ProductDeletion")
        return self._background.result(
            self._client.delete(
                catalog, list(products), allow_missing=allow_missing, validate_only=validate_only, timeout_s=timeout_s
            )
        )

    def get(self, catalog: str, product_id: str, *, timeout_s: float | None = None) -> CatalogProduct:
        """One product as it is stored, with the links of its images. Raises `SightlineError`."""
        return self._background.result(self._client.get(catalog, product_id, timeout_s=timeout_s))

    def products(
        self, catalog: str, *, page_size: int = 0, timeout_s: float | None = None
    ) -> Generator[CatalogProduct, None, None]:
        """Every product of a catalog by id, page by page. Raises `SightlineError`."""
        return self._background.iterate(self._client.products(catalog, page_size=page_size, timeout_s=timeout_s))

    def catalog(self, catalog: str, *, timeout_s: float | None = None) -> CatalogInfo:
        """One catalog. Raises `SightlineError`."""
        return self._background.result(self._client.catalog(catalog, timeout_s=timeout_s))

    def catalogs(self, *, page_size: int = 0, timeout_s: float | None = None) -> Generator[CatalogInfo, None, None]:
        """Every catalog that the caller may use, page by page. Raises `SightlineError`."""
        return self._background.iterate(self._client.catalogs(page_size=page_size, timeout_s=timeout_s))

    def create_catalog(
        self, catalog: str, *, embedder: str = "", validate_only: bool = False, timeout_s: float | None = None
    ) -> CatalogInfo:
        """Makes an empty catalog. Raises `SightlineError`.

        `embedder` is the id, the name or the folder of one that the server has; by default its first one.
        """
        return self._background.result(
            self._client.create_catalog(catalog, embedder=embedder, validate_only=validate_only, timeout_s=timeout_s)
        )

    def delete_catalog(
        self,
        catalog: str,
        *,
        etag: str = "",
        force: bool = False,
        validate_only: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        """Removes a catalog with its revisions; `force` also one that has products. Raises `SightlineError`."""
        self._background.result(
            self._client.delete_catalog(
                catalog, etag=etag, force=force, validate_only=validate_only, timeout_s=timeout_s
            )
        )

    def revisions(
        self, catalog: str, *, page_size: int = 0, timeout_s: float | None = None
    ) -> Generator[Revision, None, None]:
        """Every revision of a catalog, the newest first, page by page. Raises `SightlineError`."""
        return self._background.iterate(self._client.revisions(catalog, page_size=page_size, timeout_s=timeout_s))

    def activate(
        self,
        catalog: str,
        revision: int,
        *,
        etag: str = "",
        note: str = "",
        validate_only: bool = False,
        timeout_s: float | None = None,
    ) -> Revision:
        """Makes the content equal to that of an earlier revision, which is a new revision. Raises `SightlineError`."""
        return self._background.result(
            self._client.activate(
                catalog, revision, etag=etag, note=note, validate_only=validate_only, timeout_s=timeout_s
            )
        )
