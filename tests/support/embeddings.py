"""Searches of embeddings in a contract test."""

from typing import Any

import numpy as np

from sightline.v1 import lens_service_pb2 as pb
from sightline.v1 import lens_service_pb2_grpc
from tests.support.lens import Served

EMBEDDER = "tiny-embedder@eeeeeeeeeeee"
"""The embedder of the fake catalogs, whose vectors have 4 numbers."""


def vector(*numbers: float) -> bytes:
    """The bytes of a vector with the direction of `numbers` and length 1."""
    raw = np.array(numbers, np.float64)
    return bytes((raw / np.linalg.norm(raw)).astype("<f4").tobytes())


VECTORS = (vector(1, 2, 3, 4), vector(4, 3, 2, 1))


def embedded(**fields: Any) -> pb.SearchEmbeddingsRequest:
    """A search of `VECTORS`, unless `fields` say otherwise."""
    return pb.SearchEmbeddingsRequest(**{"embedder": EMBEDDER, "vectors": VECTORS, **fields})


def search_embeddings(served: Served, request: pb.SearchEmbeddingsRequest, **options: Any) -> Any:
    """The call's stream."""
    return lens_service_pb2_grpc.LensServiceStub(served.channel).SearchEmbeddings(request, **options)
