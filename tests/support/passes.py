"""Passes that a test needs in place of an access check."""

from typing import TYPE_CHECKING

from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.access.seal import SEAL
from sightline_server.domain.catalogs import DEFAULT_CATALOG
from sightline_server.domain.request import Lane

if TYPE_CHECKING:
    from sightline_server.ports import Catalogs


def pass_to(catalog: str = DEFAULT_CATALOG, lane: Lane = Lane.INTERACTIVE) -> CatalogPass:
    """A pass to `catalog` in `lane`, as an access check would make it."""
    return CatalogPass(SEAL, catalog, lane)


if TYPE_CHECKING:
    # mypy reports an ignored error that is no longer one: here it shows that a catalog cannot be leased by its name,
    # and that a pass cannot be made without the seal.
    def forgets_the_check(catalogs: Catalogs) -> None:
        catalogs.lease(DEFAULT_CATALOG)  # type: ignore[arg-type]

    def makes_a_pass() -> CatalogPass:
        return CatalogPass(catalog=DEFAULT_CATALOG, lane=Lane.INTERACTIVE)  # type: ignore[call-arg]
