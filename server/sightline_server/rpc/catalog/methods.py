"""The methods of CatalogService, as the edge needs to know them."""

from sightline.v1 import catalog_service_pb2 as pb
from sightline_server.domain.request import Lane
from sightline_server.rpc.catalog.names import NOWHERE, catalog_in
from sightline_server.rpc.fields import FieldBounds
from sightline_server.rpc.method import Method, Target

SERVICE = pb.DESCRIPTOR.services_by_name["CatalogService"]
SERVICE_NAME = str(SERVICE.full_name)

MANY = FieldBounds(most_fields=1100, most_bytes=4 * 1024 * 1024)
"""Requests of up to 1,000 items."""


def of_parent(
    request: pb.UpsertProductsRequest
    | pb.UpdateProductsRequest
    | pb.DeleteProductsRequest
    | pb.ListProductsRequest
    | pb.ListRevisionsRequest,
) -> Target:
    """The catalog that a request with a parent asks access to."""
    return Target(catalog_in(request.parent), Lane.BATCH)


def of_name(
    request: pb.GetProductRequest | pb.GetCatalogRequest | pb.DeleteCatalogRequest | pb.ActivateRevisionRequest,
) -> Target:
    """The catalog that a request with a name asks access to."""
    return Target(catalog_in(request.name), Lane.BATCH)


def of_new(request: pb.CreateCatalogRequest) -> Target:
    """The catalog that a request is to create."""
    return Target(request.catalog_id or NOWHERE, Lane.BATCH)


def of_server(request: pb.ListCatalogsRequest) -> Target:
    """The target of a request about the server: no catalog; the answer lists those that the caller may use."""
    return Target("", Lane.BATCH, whole_server=True)


UPSERT_PRODUCTS = Method(
    SERVICE.methods_by_name["UpsertProducts"],
    pb.UpsertProductsRequest,
    pb.UpsertProductsResponse,
    of_parent,
    takes_stream=True,
)
UPDATE_PRODUCTS = Method(
    SERVICE.methods_by_name["UpdateProducts"],
    pb.UpdateProductsRequest,
    pb.UpdateProductsResponse,
    of_parent,
    MANY,
)
DELETE_PRODUCTS = Method(
    SERVICE.methods_by_name["DeleteProducts"],
    pb.DeleteProductsRequest,
    pb.DeleteProductsResponse,
    of_parent,
    MANY,
)
GET_PRODUCT = Method(SERVICE.methods_by_name["GetProduct"], pb.GetProductRequest, pb.GetProductResponse, of_name)
LIST_PRODUCTS = Method(
    SERVICE.methods_by_name["ListProducts"], pb.ListProductsRequest, pb.ListProductsResponse, of_parent
)
GET_CATALOG = Method(SERVICE.methods_by_name["GetCatalog"], pb.GetCatalogRequest, pb.GetCatalogResponse, of_name)
LIST_CATALOGS = Method(
    SERVICE.methods_by_name["ListCatalogs"], pb.ListCatalogsRequest, pb.ListCatalogsResponse, of_server
)
CREATE_CATALOG = Method(
    SERVICE.methods_by_name["CreateCatalog"], pb.CreateCatalogRequest, pb.CreateCatalogResponse, of_new
)
DELETE_CATALOG = Method(
    SERVICE.methods_by_name["DeleteCatalog"], pb.DeleteCatalogRequest, pb.DeleteCatalogResponse, of_name
)
LIST_REVISIONS = Method(
    SERVICE.methods_by_name["ListRevisions"], pb.ListRevisionsRequest, pb.ListRevisionsResponse, of_parent
)
ACTIVATE_REVISION = Method(
    SERVICE.methods_by_name["ActivateRevision"],
    pb.ActivateRevisionRequest,
    pb.ActivateRevisionResponse,
    of_name,
)
