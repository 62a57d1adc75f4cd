"""The photo of a request: encoded image bytes, in whichever of Python's bytes types the caller has them.

Rule: nothing is read from files, nothing is encoded, and every other object is refused with a hint how to get bytes.
"""

import os
from collections.abc import Iterable, Mapping

from sightline_client import errors, values

Photo = bytes | bytearray | memoryview
"""The bytes of an image file."""

EXPECTED = "must be the bytes of an image file (bytes, bytearray or memoryview)"


def encoded(photo: object, max_bytes: int, field: str = "photo", name: str = "the photo") -> bytes:
    """The photo as bytes; errors call it `name` and its field `field`.

    Raises `InvalidRequestError`, of it `PhotoTooLargeError` above `max_bytes`.
    """
    view = _view(photo)
    if view is None:
        raise refused(photo, field)
    if view.nbytes > max_bytes:
        raise errors.PhotoTooLargeError(
            f"{name} has {view.nbytes} bytes, the limit is {max_bytes}",
            violations=[errors.FieldViolation(field, f"at most {max_bytes} bytes")],
        )
    # `tobytes` also joins the parts of a view with gaps.
    return photo if isinstance(photo, bytes) else view.tobytes()


def encoded_crops(crops: object, max_bytes: int) -> list[bytes]:
    """The crops as bytes, which have at most `max_bytes` together.

    Raises `InvalidRequestError`, of it `PhotoTooLargeError`.
    """
    if isinstance(crops, str | bytes | bytearray | memoryview | Mapping) or not isinstance(crops, Iterable):
        problem = "must be a sequence of crops, each the bytes of an image file"
        message = f"crops {problem}, not {values.kind(crops)}"
        raise errors.InvalidRequestError(message, violations=[errors.FieldViolation("crops", problem)])
    found: list[bytes] = []
    left = max_bytes
    for place, crop in enumerate(crops):
        found.append(encoded(crop, max_bytes, f"crops[{place}]", "the crop"))
        left -= len(found[-1])
        if left < 0:
            violation = errors.FieldViolation("crops", f"at most {max_bytes} bytes together")
            raise errors.PhotoTooLargeError(
                f"the crops have more than {max_bytes} bytes together, the limit of a photo", violations=[violation]
            )
    if not found:
        problem = "must have at least one crop"
        raise errors.InvalidRequestError(f"crops {problem}", violations=[errors.FieldViolation("crops", problem)])
    return found


def refused(photo: object, field: str = "photo") -> errors.InvalidRequestError:
    """The error for an object that is not encoded bytes; it says how to get them."""
    message = f"{field} {EXPECTED}, not {values.kind(photo)}: {_hint(photo)}"
    return errors.InvalidRequestError(message, violations=[errors.FieldViolation(field, EXPECTED)])


def _view(photo: object) -> memoryview | None:
    """The photo's bytes without a copy; None for other objects, among them arrays of pixels and released views."""
    if not isinstance(photo, bytes | bytearray | memoryview):
        return None
    try:
        view = memoryview(photo)
    except ValueError:
        return None
    return view if view.ndim == 1 and view.itemsize == 1 else None


def _hint(photo: object) -> str:
    if isinstance(photo, str | os.PathLike):
        return "read the file first, as in Path(photo).read_bytes()"
    if hasattr(photo, "getvalue"):
        return "pass photo.getvalue()"
    if hasattr(photo, "read"):
        return "pass photo.read(), of a file opened with mode 'rb'"
    if isinstance(photo, memoryview) or hasattr(photo, "shape"):
        return (
            "encode the pixels first, for example as JPEG; of an array that holds encoded bytes, pass array.tobytes()"
        )
    if hasattr(photo, "save") and hasattr(photo, "size"):
        return "encode the image first, as in image.save(buffer, 'JPEG'), and pass buffer.getvalue()"
    return "pass the bytes of a JPEG, PNG or WebP file"
