"""`SearchEmbeddingsRequest` -> a checked query.

Rule: every vector is checked before the grant of its search is used up. An error names the field and the
number of the vector, and nothing of its content.
"""

import numpy as np

from sightline.v1 import lens_service_pb2
from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.domain.embedders import other_embedder
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.request import NO_FILTER, EmbeddingsQuery
from sightline_server.rpc.lens.convert import bounded, check_lane, to_similarity
from sightline_server.rpc.lens.filters import to_filter
from sightline_server.rpc.refusals import invalid
from sightline_server.rpc.vectors import check_vector, names
from sightline_server.settings import LimitSettings

NUMBER_BYTES = 4


def to_embeddings_query(
    request: lens_service_pb2.SearchEmbeddingsRequest,
    catalog: CatalogPass,
    embedder: EmbedderSpec,
    *,
    request_id: str,
    deadline: float,
    limits: LimitSettings,
    one_per_group: bool = False,
) -> EmbeddingsQuery:
    """The request as a checked query in the lane of the pass; `embedder` is that of the pass's catalog.

    Raises `SightlineError`: EMBEDDER_MISMATCH for vectors of another embedder, else INVALID_REQUEST.
    """
    check_lane(request)
    if not request.embedder:
        raise invalid("embedder", "name the embedder that made the vectors, as Done.embedder does")
    if not names(request.embedder, embedder):
        raise other_embedder(embedder.identity)
    if not 0 < len(request.vectors) <= limits.max_regions:
        raise invalid("vectors", f"{len(request.vectors)} vectors, expected 1 to {limits.max_regions}")
    for place, vector in enumerate(request.vectors):
        check(f"vectors[{place}]", vector, embedder.dimension)
    return EmbeddingsQuery(
        request_id=request_id,
        embedder=embedder.identity,
        vectors=tuple(request.vectors),
        deadline=deadline,
        max_products=bounded("max_products", request.max_products, limits.default_products, limits.max_products),
        min_similarity=to_similarity(request.min_similarity),
        lane=catalog.lane,
        one_per_group=request.one_per_group if request.HasField("one_per_group") else one_per_group,
        wanted=to_filter(request.filter) if request.HasField("filter") else NO_FILTER,
    )


def check(field: str, vector: bytes, dimension: int) -> None:
    """Checks the bytes of one vector. Raises `SightlineError`."""
    expected = NUMBER_BYTES * dimension
    if len(vector) != expected:
        raise invalid(field, f"{len(vector)} bytes, expected {expected}: {dimension} numbers, float32 in little-endian")
    check_vector(field, np.frombuffer(vector, "<f4").astype(np.float32))
