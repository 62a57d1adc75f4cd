"""`CreateCatalog` and `DeleteCatalog`: the requests as checked values, and the port of what they change."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sightline.v1 import catalog_service_pb2 as pb
from sightline_server.counting import counted
from sightline_server.domain.catalogs import NAME
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ports import CatalogWriter
from sightline_server.rpc.catalog.names import catalog_name
from sightline_server.rpc.catalog.revisions import content_name
from sightline_server.rpc.catalog.statuses import stale
from sightline_server.rpc.refusals import invalid


@dataclass(frozen=True, slots=True)
class NewCatalog:
    """A catalog that a caller wants: its name, and its embedder by identity, name or folder; empty is the first one."""

    name: str
    embedder: str = ""


class CatalogSet(Protocol):
    """The catalogs of a server, which are created and removed while it serves.

    A change that has begun runs to its end, also when its caller is cancelled.
    """

    def check_new(self, wanted: NewCatalog) -> EmbedderSpec:
        """The embedder that it would have. Raises `SightlineError`, as `create`, where it cannot be created now."""

    async def create(self, wanted: NewCatalog) -> CatalogWriter:
        """Creates an empty catalog. It is on the disk and served when this returns.

        Raises `SightlineError`: INVALID_REQUEST for an embedder that is not served, CATALOG_EXISTS, CONFIGURATION where
        the server has no folder for it, OVERLOADED for a full disk and for too many catalogs.
        """

    def check_removable(self, name: str) -> None:
        """Raises `SightlineError` of kind CONFIGURATION for a catalog that calls cannot remove."""

    async def remove(self, name: str, check: Callable[[int], None]) -> None:
        """Removes the catalog `name`. Calls that search it end normally.

        `check` gets its number of products, in another thread; no write comes between that and the end. What it raises
        is raised here, and the catalog stays. Raises `SightlineError` as `check_removable`, and UNKNOWN_CATALOG.
        """


def to_new(request: pb.CreateCatalogRequest) -> NewCatalog:
    """The new catalog; whether its embedder is served is not checked here. Raises `SightlineError`."""
    if not NAME.fullmatch(request.catalog_id):
        raise invalid(
            "catalog_id", "expected a letter or digit, then up to 62 letters, digits, dots, hyphens and underscores"
        )
    return NewCatalog(request.catalog_id, request.embedder)


def to_planned(name: str, embedder: EmbedderSpec) -> pb.Catalog:
    """The catalog that a request with `validate_only` would create."""
    made = pb.Embedder(id=embedder.identity, dimension=embedder.dimension)
    return pb.Catalog(name=catalog_name(name), embedder=made)


def check_removal(request: pb.DeleteCatalogRequest, writer: CatalogWriter, products: int) -> None:
    """Raises `SightlineError` where the request does not allow to remove the catalog as it is now."""
    if request.etag and request.etag != content_name(writer):
        raise stale("catalog")
    if products and not request.force:
        message = (
            f"the catalog is not empty ({counted(products, 'product')}); set `force` to delete it with its products"
        )
        raise SightlineError(ErrorKind.CATALOG_NOT_EMPTY, message, field="name")
