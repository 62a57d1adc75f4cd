"""Imports and exports for code without asyncio: `CatalogClient.transfers`."""

import math
from collections.abc import Callable, Generator

from sightline_client.background import Background
from sightline_client.catalog.operations import DecimalSign, FeedFormat, Operation, Progress
from sightline_client.catalog.transfers import Transfers


class BlockingTransfers:
    """The methods of `Transfers`; every one raises `SightlineError`."""

    def __init__(self, transfers: Transfers, background: Background) -> None:
        self._transfers = transfers
        self._background = background

    def import_feed(
        self,
        catalog: str,
        uri: str,
        *,
        embedded: bool = False,
        encoding: str = "",
        currency: str = "",
        decimal_sign: DecimalSign = DecimalSign.AUTO,
        timeout_s: float | None = None,
    ) -> Operation:
        """Starts to add or replace the products of a feed that the server reads."""
        return self._background.result(
            self._transfers.import_feed(
                catalog,
                uri,
                embedded=embedded,
                encoding=encoding,
                currency=currency,
                decimal_sign=decimal_sign,
                timeout_s=timeout_s,
            )
        )

    def export(
        self,
        catalog: str,
        uri: str,
        *,
        format: FeedFormat = FeedFormat.BY_NAME,
        embeddings: bool = False,
        revision: int = 0,
        replace: bool = False,
        timeout_s: float | None = None,
    ) -> Operation:
        """Starts to write the products of a catalog to a file of the server."""
        return self._background.result(
            self._transfers.export(
                catalog,
                uri,
                format=format,
                embeddings=embeddings,
                revision=revision,
                replace=replace,
                timeout_s=timeout_s,
            )
        )

    def reembed(
        self,
        catalog: str,
        embedder: str,
        *,
        skip_missing: bool = False,
        max_lost_percent: int = 0,
        timeout_s: float | None = None,
    ) -> Operation:
        """Starts to embed a catalog by another embedder of the server, as a revision that `activate` searches with."""
        return self._background.result(
            self._transfers.reembed(
                catalog, embedder, skip_missing=skip_missing, max_lost_percent=max_lost_percent, timeout_s=timeout_s
            )
        )

    def get(self, operation: Operation | str, *, timeout_s: float | None = None) -> Operation:
        """An operation as it is now, also by its name."""
        return self._background.result(self._transfers.get(operation, timeout_s=timeout_s))

    def list(
        self, catalog: str, *, page_size: int = 0, timeout_s: float | None = None
    ) -> Generator[Operation, None, None]:
        """The operations of a catalog that the server remembers, page by page."""
        return self._background.iterate(self._transfers.list(catalog, page_size=page_size, timeout_s=timeout_s))

    def cancel(self, operation: Operation | str, *, timeout_s: float | None = None) -> None:
        """Asks the server to end an operation. Products that an import has written stay."""
        self._background.result(self._transfers.cancel(operation, timeout_s=timeout_s))

    def wait(
        self,
        operation: Operation | str,
        *,
        timeout_s: float = math.inf,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Operation:
        """The operation once it is done. `on_progress` is called in the thread of the client."""
        return self._background.result(self._transfers.wait(operation, timeout_s=timeout_s, on_progress=on_progress))
