"""The pass of the server's own calls, such as its warm-up, which no caller asked for and no policy decides about.

Rule: only `app/` may import this module; import-linter checks it.
"""

from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.access.seal import SEAL
from sightline_server.domain.request import Lane


def own_pass(catalog: str) -> CatalogPass:
    """A pass to `catalog` for a call of the server itself."""
    return CatalogPass(SEAL, catalog, Lane.INTERACTIVE)
