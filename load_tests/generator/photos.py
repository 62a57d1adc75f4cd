"""The photos of a run, and the requests made of them once, before it.

Rule: a run names its photos by one hash, so that two figures can be seen to be of the same work.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.v1 import lens_service_pb2

ROOT = Path(__file__).resolve().parents[2]
SHOWROOM = ROOT / "examples/showroom/photos"


@dataclass(frozen=True, slots=True)
class Photos:
    """Encoded photos in a fixed order."""

    names: tuple[str, ...]
    encoded: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        """The first 16 digits of the SHA-256 of all photos in order."""
        return hashlib.sha256(b"".join(self.encoded)).hexdigest()[:16]

    @property
    def requests(self) -> list[bytes]:
        """One serialised `SearchRequest` a photo."""
        return [lens_service_pb2.SearchRequest(photo=photo).SerializeToString() for photo in self.encoded]


def read_photos(folder: Path, at_most: int | None = None) -> Photos:
    """The JPEG photos below `folder`, by name. Raises FileNotFoundError where there is none."""
    paths = sorted(folder.glob("*.jpg"))[:at_most]
    if not paths:
        raise FileNotFoundError(f"no .jpg in {folder}")
    return Photos(tuple(path.name for path in paths), tuple(path.read_bytes() for path in paths))


def bad_requests(good: Sequence[bytes]) -> list[bytes]:
    """Serialised requests that must be refused: no photo, no image, half of one, a bad box, no message at all."""
    half = good[0][: len(good[0]) // 2]
    photos = [b"", b"not an image", b"\xff\xd8\xff\xe0" + bytes(range(256)) * 8, half]
    requests = [lens_service_pb2.SearchRequest(photo=photo).SerializeToString() for photo in photos]
    outside = lens_service_pb2.SearchRequest(photo=good[0])
    outside.regions.add().box.x_max = 7.0
    beyond = lens_service_pb2.SearchRequest(photo=good[0], max_objects=100_000)
    return [*requests, outside.SerializeToString(), beyond.SerializeToString(), b"\x0a\xff\xff\xff\x7f" + b"x" * 64]
