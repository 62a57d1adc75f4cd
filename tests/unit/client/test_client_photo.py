"""The objects that are accepted as a photo, and the errors of the others."""

import array
import io
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline_client import InvalidRequestError, PhotoTooLargeError
from sightline_client.photo import encoded

DATA = b"\xff\xd8 encoded"


@pytest.mark.parametrize(
    "photo",
    [
        DATA,
        bytearray(DATA),
        memoryview(DATA),
        memoryview(bytearray(DATA)),
        memoryview(b"".join(bytes((byte, 0)) for byte in DATA))[::2],
        memoryview(DATA[::-1])[::-1],
        np.frombuffer(DATA, np.uint8).data,
    ],
    ids=["bytes", "bytearray", "view", "writable-view", "every-second-byte", "backwards", "view-of-array"],
)
def test_bytes_of_every_kind_are_taken(photo: Any) -> None:
    assert encoded(photo, 100) == DATA


@pytest.mark.parametrize(
    ("photo", "hint"),
    [
        ("room.jpg", "read_bytes"),
        (Path("room.jpg"), "read_bytes"),
        (io.BytesIO(DATA), "getvalue"),
        (open(__file__, "rb"), "read"),  # noqa: SIM115
        (np.zeros((4, 4, 3), np.uint8), "encode the pixels"),
        (np.zeros((4, 4, 3), np.uint8).data, "encode the pixels"),
        (memoryview(array.array("f", [1.0])), "encode the pixels"),
        (Image.new("RGB", (2, 2)), "encode the image"),
        (None, "JPEG"),
        (12, "JPEG"),
        ([1, 2], "JPEG"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_another_object_is_told_how_to_get_bytes(photo: Any, hint: str) -> None:
    with pytest.raises(InvalidRequestError, match=hint) as caught:
        encoded(photo, 100)
    assert caught.value.violations[0].field == "photo"
    if hasattr(photo, "close"):
        photo.close()


def test_a_released_view_and_a_mapped_file_are_refused() -> None:
    released = memoryview(DATA)
    released.release()
    with mmap.mmap(-1, 10) as mapped:
        for photo in (released, mapped):
            with pytest.raises(InvalidRequestError):
                encoded(photo, 100)


def test_the_size_is_counted_in_bytes() -> None:
    with pytest.raises(PhotoTooLargeError, match="10 bytes, the limit is 9"):
        encoded(memoryview(bytes(20))[::2], 9)
