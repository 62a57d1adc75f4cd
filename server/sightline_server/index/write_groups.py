"""Calls of many callers -> one transaction, on the writer's thread.

Rule: every call gets its own outcome. What is wrong with one call is found alone, so that its neighbours are written.
What is wrong with the disk concerns all of them, and no path of the server is part of what callers read.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

from sightline_server.catalog.grouping import Outcome, WriteRequest
from sightline_server.catalog.operations import Delete, Update, Upsert, Write
from sightline_server.domain.catalog_rows import CatalogRow, ProductUpdate
from sightline_server.domain.revisions import Receipt
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.living import LivingCatalog, batches, changes
from sightline_server.index.write_queue import Entry

log = logging.getLogger(__name__)

OF_THE_DISK = (ErrorKind.OVERLOADED, ErrorKind.INDEX_UNAVAILABLE)
"""Kinds of errors that every call of a group has."""
ROW_BYTES = 2048
"""The bytes that a product takes in addition to its embeddings and its texts."""


class GroupStore(Protocol):
    """The part of the store that writes groups."""

    def write_group(self, requests: Sequence[WriteRequest]) -> list[Outcome]:
        """See `CatalogStore`."""


def upserts(living: LivingCatalog, rows: Sequence[CatalogRow]) -> list[Write]:
    """The writes of products.

    Raises `SightlineError`: INVALID_REQUEST for one that cannot be stored, EMBEDDER_CHANGED as `require_own`.
    """
    living.require_own(rows)
    for row in rows:
        if reason := living.fault(row):
            raise SightlineError(ErrorKind.INVALID_REQUEST, reason)
    try:
        living.originals.link(rows)
        living.features.link(rows)
    except SightlineError as error:
        log.error("files of images could not be kept: %s", error.message)
        raise public(error) from error
    return [Upsert(batch) for batch in batches(rows, living.embedder.dimension)]


def updates_of(updates: Sequence[ProductUpdate]) -> list[Write]:
    """The writes of updates. Raises `SightlineError` of kind INVALID_REQUEST."""
    return [Update(update.id, changes(update)) for update in updates]


def deletes(ids: Sequence[str]) -> list[Write]:
    """The writes of deletions."""
    return [Delete(product_id) for product_id in ids]


def size_of(row: CatalogRow) -> int:
    """About the bytes of a product in the log."""
    product = row.product
    texts = (product.title, product.brand, product.category, product.link, *row.images, *product.attributes.values())
    return row.embeddings.nbytes // 2 + ROW_BYTES + sum(map(len, texts))


def write_entries(store: GroupStore, entries: Sequence[Entry], catalog: str) -> list[Outcome]:
    """Writes the calls in one transaction; returns the outcome of each. Raises nothing."""
    prepared = [request_of(entry) for entry in entries]
    requests = [each for each in prepared if isinstance(each, WriteRequest)]
    written = iter(written_together(store, requests, catalog) if requests else [])
    return [next(written) if isinstance(each, WriteRequest) else each for each in prepared]


def request_of(entry: Entry) -> WriteRequest | SightlineError:
    """The call as the store takes it, or what is wrong with it."""
    terms = entry.terms
    try:
        return WriteRequest(entry.prepare(), entry.request_id, terms.mark, terms.etags, terms.dry_run)
    except SightlineError as error:
        return error
    except Exception:  # libraries raise whatever their converters meet; it must cost this call only
        log.exception("a write could not be prepared")
        return SightlineError(ErrorKind.INTERNAL, "internal error")


def written_together(store: GroupStore, requests: Sequence[WriteRequest], catalog: str) -> list[Outcome]:
    """The outcomes of one transaction; of one each where a request makes the transaction fail."""
    try:
        return store.write_group(requests)
    except SightlineError as error:
        failure = error
    except Exception as error:  # as above
        failure = SightlineError(ErrorKind.INTERNAL, "internal error")
        failure.__cause__ = error
    if len(requests) > 1 and failure.kind not in OF_THE_DISK:
        return [written_together(store, [request], catalog)[0] for request in requests]
    log.error("catalog %s: %d writes failed: %s", catalog, len(requests), failure.message, exc_info=failure.__cause__)
    return [public(failure) for _ in requests]


def public(error: SightlineError) -> SightlineError:
    """An error of the store as callers read it: without paths of the server."""
    match error.kind:
        case ErrorKind.OVERLOADED:
            message = "the disk of the catalog is full; nothing of this request was written"
            return SightlineError(error.kind, message, retry_after_s=30.0, metadata={"limit": "disk"})
        case ErrorKind.CONFIGURATION:
            return SightlineError(ErrorKind.INDEX_UNAVAILABLE, "the catalog is damaged; the server's log says more")
        case ErrorKind.INDEX_UNAVAILABLE if error.retry_after_s is None:
            return SightlineError(error.kind, "the catalog cannot be written now; the server's log says more")
        case _:
            return SightlineError(
                *(error.kind, error.message),
                field=error.field,
                retry_after_s=error.retry_after_s,
                metadata=error.metadata,
            )


def acknowledged(entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> int:
    """The number of operations that were written now; neither those of a repeated request nor of a dry run."""
    return sum(
        sum(seq > 0 for seq in outcome.seqs)
        for entry, outcome in zip(entries, outcomes, strict=True)
        if isinstance(outcome, Receipt) and not outcome.repeated and not entry.terms.dry_run
    )
