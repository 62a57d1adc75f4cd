"""`UpdateProducts` and `DeleteProducts`: some items of one request -> one transaction -> one status for each."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sightline.v1 import catalog_service_pb2
from sightline_server.domain.catalog_rows import ProductUpdate
from sightline_server.domain.revisions import Receipt
from sightline_server.domain.writes import WriteTerms
from sightline_server.errors import SightlineError
from sightline_server.rpc.catalog.names import product_id_in
from sightline_server.rpc.catalog.products import to_update
from sightline_server.rpc.catalog.statuses import ProductStatus, merged, outcome, refused
from sightline_server.rpc.catalog.terms import check_etag, check_request_id, terms_of
from sightline_server.rpc.refusals import invalid

MOST = 1000
"""Items of one request."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The items that can be written, with their names, and the statuses of the others by position."""

    request_id: str
    names: tuple[str, ...]
    updates: tuple[ProductUpdate, ...]
    ids: tuple[str, ...]
    refusals: dict[int, ProductStatus]
    terms: WriteTerms
    allow_missing: bool = False

    def statuses(self, receipt: Receipt, call_id: str) -> list[ProductStatus]:
        """The statuses of all items, in order."""
        made = [
            outcome(name, seq, call_id, allow_missing=self.allow_missing)
            for name, seq in zip(self.names, receipt.seqs, strict=True)
        ]
        return merged(len(made) + len(self.refusals), self.refusals, made)


def to_updates(request: catalog_service_pb2.UpdateProductsRequest, catalog: str, call_id: str) -> Changes:
    """The updates of a request. Raises `SightlineError` for what is wrong with the request as a whole."""
    check_items("updates", len(request.updates), request.request_id)
    names, updates, refusals, etags = list[str](), list[ProductUpdate](), dict[int, ProductStatus](), dict[str, str]()
    for place, item in enumerate(request.updates):
        field = f"updates[{place}]"
        try:
            product_id = new_id(f"{field}.name", item.name, catalog, etags)
            check_etag(f"{field}.etag", item.etag)
            update = to_update(item, product_id, field)
        except SightlineError as error:
            refusals[place] = refused(item.name[:1024], error, call_id)
            continue
        etags[product_id] = item.etag
        updates.append(update)
        names.append(item.name)
    content = [asdict(update) for update in updates]
    terms = terms_of("UpdateProducts", content, etags, validate_only=request.validate_only)
    ids = tuple(update.id for update in updates)
    return Changes(request.request_id, tuple(names), tuple(updates), ids, refusals, terms)


def to_deletions(request: catalog_service_pb2.DeleteProductsRequest, catalog: str, call_id: str) -> Changes:
    """The deletions of a request. Raises as `to_updates`."""
    check_items("deletions", len(request.deletions), request.request_id)
    names, refusals, etags = list[str](), dict[int, ProductStatus](), dict[str, str]()
    for place, item in enumerate(request.deletions):
        try:
            product_id = new_id(f"deletions[{place}].name", item.name, catalog, etags)
            check_etag(f"deletions[{place}].etag", item.etag)
        except SightlineError as error:
            refusals[place] = refused(item.name[:1024], error, call_id)
            continue
        etags[product_id] = item.etag
        names.append(item.name)
    terms = terms_of("DeleteProducts", list(etags), etags, validate_only=request.validate_only)
    return Changes(request.request_id, tuple(names), (), tuple(etags), refusals, terms, request.allow_missing)


def check_items(field: str, count: int, request_id: str) -> None:
    """Raises `SightlineError` for no items or too many, and for a request id that cannot be one."""
    if not 1 <= count <= MOST:
        raise invalid(field, f"{count} items, expected 1 to {MOST}")
    check_request_id(request_id)


def new_id(field: str, name: str, catalog: str, taken: Sequence[str] | dict[str, str]) -> str:
    """The product id of a name that is not in `taken`. Raises `SightlineError`."""
    product_id = product_id_in(field, name, catalog)
    if product_id in taken:
        raise invalid(field, "this request names the product twice")
    return product_id
