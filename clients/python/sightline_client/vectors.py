"""The embeddings of a request: numbers in whichever form the caller has them, as the bytes that are sent.

Rule: float32 in little-endian order, the bytes that a consent grant is for. Whether a vector fits the catalog is left
to the server.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from sightline_client import errors, values

Vector: TypeAlias = bytes | bytearray | memoryview | Iterable[float]
"""One embedding: its numbers, such as a NumPy array or a list, or its bytes as float32 in little-endian order."""

EXPECTED = "must be a sequence of embeddings, each a sequence of numbers or the bytes of float32 numbers"


def vectors_bytes(embeddings: object) -> list[bytes]:
    """The bytes of each embedding. Raises `InvalidRequestError` that names the embedding by its number."""
    if isinstance(embeddings, str | bytes | bytearray | memoryview | Mapping) or not isinstance(embeddings, Iterable):
        raise refused("embeddings", f"{EXPECTED}, not {values.kind(embeddings)}")
    return [vector_bytes(f"embeddings[{place}]", each) for place, each in enumerate(embeddings)]


def vector_bytes(field: str, embedding: object) -> bytes:
    """The bytes of one embedding. Raises `InvalidRequestError` for what is neither bytes nor numbers."""
    if isinstance(embedding, bytes):
        return embedding
    if isinstance(embedding, bytearray | memoryview):
        return _viewed(field, embedding)
    if isinstance(embedding, str | Mapping) or not isinstance(embedding, Iterable):
        raise refused(field, f"must be a sequence of numbers, not {values.kind(embedding)}")
    return _packed(field, embedding)


def refused(field: str, problem: str) -> errors.InvalidRequestError:
    """The error for one field."""
    return errors.InvalidRequestError(f"{field} {problem}", violations=[errors.FieldViolation(field, problem)])


def _viewed(field: str, embedding: bytearray | memoryview) -> bytes:
    try:
        view = memoryview(embedding)
    except ValueError:
        raise refused(field, "must be a memoryview that is not released") from None
    if view.itemsize == 1 and view.ndim == 1:
        return view.tobytes()
    return _packed(field, view.tolist())


def _packed(field: str, numbers: Iterable[object]) -> bytes:
    try:
        checked: Sequence[float] = [values.finite(each) for each in numbers]
        return struct.pack(f"<{len(checked)}f", *checked)
    except (ValueError, OverflowError, TypeError):
        # Without the number: it is a part of an embedding.
        raise refused(field, "must be finite numbers of a usual size") from None
