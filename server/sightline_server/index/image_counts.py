"""The number of images of a catalog whose images may have several vectors.

Rule: vectors of one product with one link are one image, as they are of one view each or of views of the same image.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sightline_server.domain.image_views import ONE_VIEW
from sightline_server.index.schema import CatalogFacts
from sightline_server.index.stored_rows import StoredRows


def image_count(stored: StoredRows) -> int:
    """The number of images in `stored`, whose links are read where its images have two views."""
    if stored.facts.views == ONE_VIEW:
        return stored.facts.vectors
    lists = (batch["images"] for batch in stored.columns(["images"]))
    return sum(different(each.value_parent_indices().to_numpy(), each.flatten()) for each in lists)


def opened_image_count(facts: CatalogFacts, owners: NDArray[np.int32], links: pa.Array) -> int:
    """As `image_count`, of an opened catalog: vector v is of product `owners[v]` and has the link `links[v]`."""
    return facts.vectors if facts.views == ONE_VIEW else different(owners, links)


def different(owners: NDArray[np.integer], links: pa.Array) -> int:
    """The number of different pairs of an owner and a link."""
    encoded = links.dictionary_encode()
    names = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    pairs = owners.astype(np.int64) * max(len(encoded.dictionary), 1) + names
    return len(np.unique(pairs))
