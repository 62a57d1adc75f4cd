"""The catalog of a running server for the commands of `sightline catalog --target`, by the catalog client.

Rule: nothing is decided here; values of the commands become values of the client, and its errors one line.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from sightline_console.remote_catalog import (
    Outcome,
    Reach,
    ReembedProgress,
    RemoteCatalog,
    RemoteError,
    RemoteImage,
    RemoteProduct,
    RemoteReembedding,
    RemoteRevision,
    RemoteState,
    RemoteUpdate,
)

if TYPE_CHECKING:
    from sightline_client.catalog.operations import Progress
    from sightline_client.catalog.products import CatalogProduct, Price, ProductImage, ProductStatus, ProductUpdate
    from sightline_client.catalog.revisions import Revision
    from sightline_client.catalog.sync import CatalogClient
    from sightline_client.errors import SightlineError

TIMEOUT_S = 60.0
"""Deadline of a call, in seconds; a rollback of a large catalog takes some of them."""


@contextmanager
def connect(reach: Reach, name: str) -> Generator[RemoteCatalog, None, None]:
    """The catalog `name` of a server. Raises `RemoteError`, for every error of the client in the block as well."""
    # Late, so that the other commands of the server do not load gRPC.
    from sightline_client.catalog.sync import CatalogClient
    from sightline_client.credentials import read_token
    from sightline_client.errors import SightlineError
    from sightline_client.options import ClientOptions, TlsOptions

    tls = reach.tls or any(path is not None for path in (reach.tls_ca, reach.tls_cert, reach.tls_key))
    try:
        options = ClientOptions(
            target=reach.target,
            tls=TlsOptions(reach.tls_ca, reach.tls_cert, reach.tls_key) if tls else None,
            insecure=reach.insecure,
            token=None if reach.token_file is None else read_token(reach.token_file),
            timeout_s=TIMEOUT_S,
        )
        with CatalogClient(options) as client:
            yield Catalog(client, name)
    except SightlineError as error:
        raise RemoteError(error.one_line(), wrong_usage=is_wrong_usage(error)) from error


def is_wrong_usage(error: "SightlineError") -> bool:
    """Returns whether what was asked for is wrong, as with a folder that is not a catalog."""
    from sightline_client.errors import ConfigurationError, NotBuiltError

    fields = {violation.field for violation in error.violations}
    return (
        isinstance(error, ConfigurationError | NotBuiltError)
        or error.reason in ("UNKNOWN_CATALOG", "UNKNOWN_REVISION", "REVISION_REMOVED", "REVISION_OUTDATED")
        or "catalog" in fields
    )


class Catalog:
    """`RemoteCatalog` by the client; its errors are turned into `RemoteError` by `connect`."""

    def __init__(self, client: "CatalogClient", name: str) -> None:
        self._client = client
        self._name = name

    def upsert(self, products: Generator[RemoteProduct, None, None]) -> Iterator[Outcome]:
        """Adds or replaces products."""
        return map(outcome, self._client.upsert(self._name, sent(products)))

    def update(self, updates: Sequence[RemoteUpdate]) -> list[Outcome]:
        """Changes fields of products."""
        return [outcome(status) for status in self._client.update(self._name, map(update, updates))]

    def delete(self, ids: Sequence[str]) -> list[Outcome]:
        """Deletes products."""
        return [outcome(status) for status in self._client.delete(self._name, ids)]

    def revisions(self) -> Iterator[RemoteRevision]:
        """The revisions, the newest first."""
        return map(revision, self._client.revisions(self._name))

    def activate(self, number: int) -> RemoteRevision:
        """Makes the content equal to that of an earlier revision."""
        return revision(self._client.activate(self._name, number))

    def reembed(
        self, embedder: str, *, skip_missing: bool, max_lost_percent: int, progress: ReembedProgress
    ) -> RemoteReembedding:
        """Has the server prepare a revision embedded by another embedder."""
        from sightline_client.catalog.operations import ReembedResult
        from sightline_client.errors import SightlineError

        transfers = self._client.transfers
        operation = transfers.reembed(
            self._name, embedder, skip_missing=skip_missing, max_lost_percent=max_lost_percent
        )
        shown = Shown(progress)
        try:
            done = transfers.wait(operation, on_progress=shown.update)
        except KeyboardInterrupt:
            transfers.cancel(operation)
            raise
        except SightlineError:
            shown.update(transfers.get(operation).progress)
            raise
        result = done.result
        assert isinstance(result, ReembedResult)
        counts = (result.products, result.images, result.reused, result.left_out)
        return RemoteReembedding(result.revision, result.revision_number, *counts)

    def state(self) -> RemoteState:
        """The content of the catalog now."""
        info = self._client.catalog(self._name)
        return RemoteState(info.revision, info.products, info.pending_writes)


class Shown:
    """Shows the progress of an operation, each problem once."""

    def __init__(self, progress: ReembedProgress) -> None:
        self._progress = progress
        self._problems = 0

    def update(self, now: "Progress") -> None:
        """Shows what is new."""
        for each in now.problems[self._problems :]:
            self._progress.problem(f"row {each.row} ({each.product_id}): {each.description}")
        self._problems = len(now.problems)
        self._progress.products(now.rows_read, now.rows_total)


def sent(products: Generator[RemoteProduct, None, None]) -> "Generator[CatalogProduct, None, None]":
    """Products as the client takes them. The client closes this generator in the thread that runs it."""
    with closing(products):
        for each in products:
            yield product(each)


def product(given: RemoteProduct) -> "CatalogProduct":
    """A product as the client takes it."""
    from sightline_client.catalog.products import CatalogProduct

    images = [image(each) for each in given.images]
    return CatalogProduct(given.id, images, price=price(given.price), attributes=given.attributes, **given.texts)


def image(given: RemoteImage) -> "ProductImage":
    """An image as the client takes it."""
    from sightline_client.catalog.products import Embedding, ProductImage

    content = Embedding(given.embedder, given.values) if given.embedder else given.data
    return ProductImage(content, given.link)


def update(given: RemoteUpdate) -> "ProductUpdate":
    """An update as the client takes it."""
    from sightline_client.catalog.products import KEEP, ProductUpdate

    return ProductUpdate(given.id, price=KEEP if given.price is None else price(given.price), **given.texts)  # type: ignore[arg-type]


def price(given: tuple[object, str] | None) -> "Price | None":
    """A price as the client takes it."""
    from sightline_client.catalog.products import Price

    return None if given is None else Price(given[0], given[1])  # type: ignore[arg-type]


def outcome(status: "ProductStatus") -> Outcome:
    """The outcome of one product."""
    from sightline_client.errors import NotFoundError

    if status.error is None:
        return Outcome()
    return Outcome(status.error.message, status.error.reason, isinstance(status.error, NotFoundError))


def revision(given: "Revision") -> RemoteRevision:
    """A revision as the commands show it."""
    return RemoteRevision(
        number=given.number,
        name=given.revision,
        digest=given.digest,
        kind=given.kind.value,
        created_at=given.created_at.isoformat(timespec="seconds") if given.created_at else "",
        products=given.products,
        images=given.images,
        note=given.note,
        creator=given.creator,
        available=given.available,
        generation=given.generation,
    )
