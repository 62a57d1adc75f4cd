"""`sightline.v1.CatalogTransferService`: starts imports, exports and reembeddings as operations.

Rule: nothing is decided here. The call ends when the operation has begun; `operations_service` watches it.
"""

from collections.abc import Mapping
from typing import TypeAlias

from google.longrunning.operations_proto_pb2 import Operation

from sightline.v1 import catalog_transfer_service_pb2 as pb
from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.domain.request import Lane
from sightline_server.rpc.call import Call
from sightline_server.rpc.catalog.names import catalog_in, check_catalog
from sightline_server.rpc.catalog.operation_messages import to_operation
from sightline_server.rpc.catalog.transfer_requests import (
    ExportRequest,
    ImportRequest,
    ReembedRequest,
    Transfers,
    to_export,
    to_import,
    to_reembed,
)
from sightline_server.rpc.catalog.writers import CatalogWriters
from sightline_server.rpc.edge import Edge, Handler
from sightline_server.rpc.method import Method, Target

SERVICE = pb.DESCRIPTOR.services_by_name["CatalogTransferService"]


Request: TypeAlias = pb.ImportProductsRequest | pb.ExportProductsRequest | pb.ReembedCatalogRequest


def of_parent(request: Request) -> Target:
    """The catalog that a request asks access to."""
    return Target(catalog_in(request.parent), Lane.BATCH)


IMPORT_PRODUCTS = Method(SERVICE.methods_by_name["ImportProducts"], pb.ImportProductsRequest, Operation, of_parent)
EXPORT_PRODUCTS = Method(SERVICE.methods_by_name["ExportProducts"], pb.ExportProductsRequest, Operation, of_parent)

REEMBED_CATALOG = Method(SERVICE.methods_by_name["ReembedCatalog"], pb.ReembedCatalogRequest, Operation, of_parent)


class CatalogTransferService:
    """The service on the listener of catalogs."""

    name = str(SERVICE.full_name)

    def __init__(self, edge: Edge, writers: CatalogWriters, transfers: Transfers) -> None:
        self._edge = edge
        self._writers = writers
        self._transfers = transfers

    def handlers(self) -> Mapping[str, Handler]:
        """See `Service`."""
        return {
            "ImportProducts": self._edge.handler(IMPORT_PRODUCTS, self._to_import, self._import),
            "ExportProducts": self._edge.handler(EXPORT_PRODUCTS, self._to_export, self._export),
            "ReembedCatalog": self._edge.handler(REEMBED_CATALOG, self._to_reembed, self._reembed),
        }

    def _to_import(
        self, request: pb.ImportProductsRequest, catalog: CatalogPass, call: Call[Operation]
    ) -> ImportRequest:
        check_catalog("parent", request.parent)
        self._writers.of(catalog)
        return to_import(request)

    async def _import(self, wanted: ImportRequest, catalog: CatalogPass, call: Call[Operation]) -> None:
        job = self._transfers.start_import(self._writers.of(catalog), wanted)
        await call.send(to_operation(job, call.request_id))

    def _to_export(
        self, request: pb.ExportProductsRequest, catalog: CatalogPass, call: Call[Operation]
    ) -> ExportRequest:
        check_catalog("parent", request.parent)
        self._writers.of(catalog)
        return to_export(request)

    async def _export(self, wanted: ExportRequest, catalog: CatalogPass, call: Call[Operation]) -> None:
        job = self._transfers.start_export(catalog.catalog, wanted)
        await call.send(to_operation(job, call.request_id))

    def _to_reembed(
        self, request: pb.ReembedCatalogRequest, catalog: CatalogPass, call: Call[Operation]
    ) -> ReembedRequest:
        check_catalog("parent", request.parent)
        self._writers.of(catalog)
        return to_reembed(request)

    async def _reembed(self, wanted: ReembedRequest, catalog: CatalogPass, call: Call[Operation]) -> None:
        job = self._transfers.start_reembedding(self._writers.of(catalog), wanted)
        await call.send(to_operation(job, call.request_id))
