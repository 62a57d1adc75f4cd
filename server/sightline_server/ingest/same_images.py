"""The one image that many links of a build share, such as the placeholder of an image server that has lost its images.

Rule: memory does not grow with the feed. The counts are those of Misra and Gries ("Finding repeated elements", 1982):
an image behind more than 1 of `COUNTERS` links is found, and its count is never too high.
"""

from hashlib import blake2b

COUNTERS = 64


class SameImages:
    """Counts equal images of different links."""

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}
        self.total = 0

    @property
    def most(self) -> int:
        """A lower bound on the number of links that lead to the most frequent image."""
        return max(self._counts.values(), default=0)

    def add(self, image: bytes) -> None:
        """Counts the encoded image of one more link."""
        self.count(content_key(image))

    def count(self, key: bytes) -> None:
        """Counts one more link to the image whose `content_key` is `key`."""
        self.total += 1
        if key in self._counts or len(self._counts) < COUNTERS:
            self._counts[key] = self._counts.get(key, 0) + 1
        else:
            self._counts = {other: count - 1 for other, count in self._counts.items() if count > 1}


def content_key(image: bytes) -> bytes:
    """A short name of an encoded image that no other image has."""
    return blake2b(image, digest_size=16).digest()
