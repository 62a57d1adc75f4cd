"""Calls of the methods for less than a photo that cannot be answered, from a caller who may make them."""

import random
from collections.abc import Callable

from load_tests.hostile.call import SEARCH
from load_tests.hostile.materials import NO_IMAGE
from sightline.v1 import lens_service_pb2 as pb
from tests.support.grants import MARK

EMBEDDINGS, INFO = (SEARCH.replace(b"/Search", name) for name in (b"/SearchEmbeddings", b"/GetServerInfo"))
LARGEST_RANDOM = 3000


def crops(*parts: bytes, **fields: object) -> bytes:
    """A serialised search of crops."""
    return pb.SearchRequest(crops=parts, **fields).SerializeToString()  # type: ignore[arg-type]


def vectors(*parts: bytes, **fields: object) -> bytes:
    """A serialised search of embeddings of an embedder that no server has."""
    request = pb.SearchEmbeddingsRequest(**{"embedder": MARK, "vectors": parts, **fields})  # type: ignore[arg-type]
    return request.SerializeToString()


TIERS: dict[str, tuple[bytes, Callable[[random.Random], bytes]]] = {
    "crops that are not images": (SEARCH, lambda source: crops(NO_IMAGE, source.randbytes(200), b"")),
    "a photo and crops": (SEARCH, lambda source: crops(NO_IMAGE, photo=NO_IMAGE)),
    "many crops": (SEARCH, lambda source: crops(*[NO_IMAGE] * source.randrange(17, 60))),
    "two thousand empty crops": (SEARCH, lambda source: b"\x5a\x00" * 2000),
    "crops and regions": (SEARCH, lambda source: crops(NO_IMAGE) + b"\x12\x00"),
    "vectors of another embedder": (EMBEDDINGS, lambda source: vectors(source.randbytes(4 * 1280))),
    "no vectors": (EMBEDDINGS, lambda source: vectors()),
    "no embedder": (EMBEDDINGS, lambda source: vectors(source.randbytes(16), embedder="")),
    "two thousand empty vectors": (EMBEDDINGS, lambda source: b"\x12\x00" * 2000),
    "vectors of an unknown catalog": (EMBEDDINGS, lambda source: vectors(bytes(16), catalog=MARK)),
    "random vectors": (EMBEDDINGS, lambda source: source.randbytes(source.randrange(1, LARGEST_RANDOM))),
    "a photo as vectors": (EMBEDDINGS, lambda source: pb.SearchRequest(photo=NO_IMAGE).SerializeToString()),
    "facts of an unknown catalog": (INFO, lambda source: pb.GetServerInfoRequest(catalog=MARK).SerializeToString()),
    "facts for an unknown lane": (INFO, lambda source: b"\x10\xff\x01"),
    "random facts": (INFO, lambda source: b"\x0a\xff" + source.randbytes(source.randrange(1, LARGEST_RANDOM))),
}
"""By kind the method, and its message."""
