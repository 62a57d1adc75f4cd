"""The images of a product as they were sent: ready embeddings as vectors, and what stands for them in a digest."""

import hashlib
import struct

import numpy as np
import pytest

from sightline.v1 import catalog_service_pb2 as pb
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import SightlineError
from sightline_server.rpc.catalog.upserts import digest, to_vector

SPEC = EmbedderSpec("tiny", "1", 16, 16, 4, sha256="e" * 64)
VALUES = (0.1, -0.7, -0.0, 0.7071)


def sent(*values: float) -> pb.ProductImage:
    return pb.ProductImage(embedding=pb.Embedding(embedder=SPEC.identity, values=values))


def test_a_ready_embedding_is_the_vector_that_was_sent() -> None:
    vector = to_vector(sent(*VALUES), SPEC, 0)
    assert vector.dtype == np.float32
    assert vector.tobytes() == np.array(VALUES, np.float32).tobytes()


def test_the_digest_of_a_ready_embedding_is_of_its_numbers_in_little_endian() -> None:
    image = sent(*VALUES)
    expected = hashlib.sha256(struct.pack("<4f", *VALUES)).hexdigest()
    assert digest(image, to_vector(image, SPEC, 0)) == expected


def test_the_digest_of_an_image_is_of_its_bytes_whatever_its_embedding() -> None:
    image = pb.ProductImage(data=b"encoded")
    digests = {digest(image, np.full(4, value, np.float32)) for value in (0.1, 0.2)}
    assert digests == {hashlib.sha256(b"encoded").hexdigest()}


@pytest.mark.parametrize("values", [(np.nan, 0, 0, 1), (np.inf, 0, 0, 0), (0, 0, 0, 0), (1, 1, 0, 0), (1, 0, 0), ()])
def test_a_wrong_embedding_is_refused_with_its_place(values: tuple[float, ...]) -> None:
    with pytest.raises(SightlineError) as refused:
        to_vector(sent(*values), SPEC, 3)
    assert refused.value.field == "product.images[3].embedding.values"
