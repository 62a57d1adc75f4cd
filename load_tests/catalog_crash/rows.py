"""Products whose title and embedding both show the value that they were written with."""

import numpy as np

from sightline_server.domain.items import Product
from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.schema import CatalogRow

SPEC = EmbedderSpec("crash", "1", 4, 4, 16, sha256="cd" * 32)
GROUP = 3
"""Products of one group, which must be there together or not at all."""


def product_row(product_id: str, value: int) -> CatalogRow:
    """A product whose title and embedding both show `value`."""
    vector = np.random.default_rng(value).standard_normal((1, SPEC.dimension)).astype(np.float32)
    vector /= np.linalg.norm(vector)
    return CatalogRow(Product(product_id, title=str(value)), None, (f"{product_id}.jpg",), vector)
