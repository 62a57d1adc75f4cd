"""Catalogs and revisions as the contract has them."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from sightline.v1 import catalog_service_pb2
from sightline.v1.catalog_service_pb2 import ActivateRevisionRequest
from sightline_server.domain.revisions import Revision, RevisionKind, current_revision
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import CatalogWriter
from sightline_server.rpc.catalog.names import catalog_name, revision_name
from sightline_server.rpc.catalog.statuses import stale

KINDS = {
    RevisionKind.BUILD: catalog_service_pb2.REVISION_KIND_BUILD,
    RevisionKind.CHECKPOINT: catalog_service_pb2.REVISION_KIND_CHECKPOINT,
    RevisionKind.ROLLBACK: catalog_service_pb2.REVISION_KIND_ROLLBACK,
    RevisionKind.PREPARED: catalog_service_pb2.REVISION_KIND_PREPARED,
    RevisionKind.ADAPTED: catalog_service_pb2.REVISION_KIND_ADAPTED,
}


def to_catalog(writer: CatalogWriter, products: int) -> catalog_service_pb2.Catalog:
    """The catalog of `writer`, which has so many products."""
    current = current_revision(writer.revisions)
    return catalog_service_pb2.Catalog(
        name=catalog_name(writer.name),
        revision=content_name(writer),
        revision_number=current.number,
        product_count=products,
        pending_writes=writer.pending,
        embedder=catalog_service_pb2.Embedder(id=writer.embedder.identity, dimension=writer.embedder.dimension),
        update_time=to_time(current.created_at),
        etag=content_name(writer),
    )


def content_name(writer: CatalogWriter) -> str:
    """The content of a catalog now, as `Accepted.catalog_revision` names it."""
    current, pending = current_revision(writer.revisions), writer.pending
    return f"{current.number}+{pending}-{current.mark}" if pending else current.name


def to_revision(catalog: str, revision: Revision) -> catalog_service_pb2.Revision:
    """A revision."""
    return catalog_service_pb2.Revision(
        name=revision_name(catalog, revision.number),
        number=revision.number,
        revision=revision.name,
        digest=revision.digest,
        product_count=revision.rows,
        image_count=revision.items,
        kind=KINDS[revision.kind],
        create_time=to_time(revision.created_at),
        note=revision.note,
        creator=revision.actor,
        available=revision.base_version is not None,
        generation=revision.generation,
    )


def to_time(text: str) -> Timestamp | None:
    """An ISO 8601 time; None for another text."""
    made = Timestamp()
    try:
        made.FromDatetime(datetime.fromisoformat(text))
    except ValueError:
        return None
    return made


def available(writer: CatalogWriter, number: int) -> Revision:
    """The revision `number`, which can be activated. Raises `SightlineError`."""
    found = next((each for each in writer.revisions if each.number == number), None)
    if found is None:
        raise SightlineError(ErrorKind.UNKNOWN_REVISION, "there is no such revision", field="name")
    if found.base_version is None:
        message = "the content of this revision was removed; ListRevisions says which ones are available"
        raise SightlineError(ErrorKind.REVISION_REMOVED, message, field="name")
    return found


def check_activation(request: ActivateRevisionRequest, writer: CatalogWriter, number: int) -> Revision:
    """The revision `number`, which `request` allows to activate as the catalog is now. Raises `SightlineError`."""
    if request.etag and request.etag != content_name(writer):
        raise stale("catalog")
    return available(writer, number)
