"""The marks of a verification: every form in which a fact about a canary photo, or about its answer, may be left.

Rule: what is found is named by its kind. The mark itself is never printed.
"""

import base64
import hashlib
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from sightline_privacy import numbers, vectors
from sightline_privacy.canary import Canary

WINDOW = 24
"""Bytes of a piece; by chance it occurs nowhere else."""
LEAST_TEXT = 6
"""Characters of a product id or a label below which it could be found by chance."""
UNSURE_LABEL = "object"
"""The label of what the detector is not sure of: a word that any text may have. It does not count as a mark."""


class Kind(StrEnum):
    """A kind of fact about a photo or its answer."""

    EXIF = "a text of the EXIF"
    GPS = "the GPS position"
    PHOTO = "bytes of a photo"
    PIXELS = "pixels"
    HASH = "the hash of a photo"
    SIZE = "the size of a photo"
    CODE = "the barcode"
    PRINTED = "the printed text"
    BOX = "a box or a tap"
    LABEL = "the label of an object"
    PRODUCT = "the id of a product of the answer"
    EMBEDDING = "an embedding"
    REQUEST = "a text of the request"


EXIF_KINDS = frozenset({Kind.EXIF, Kind.GPS})


@dataclass
class Marks:
    """The marks of the photos, and of the answers once they are there."""

    canary: Canary
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    products: set[str] = field(default_factory=set)
    further: list[str] = field(default_factory=list)
    """Further texts of requests, such as grants."""
    pieces: Mapping[Kind, Sequence[bytes]] = field(init=False)

    def __post_init__(self) -> None:
        canary = self.canary
        self.boxes += [canary.box, canary.wrong_box, (*canary.tap, *canary.tap)]
        self.pieces = {
            Kind.EXIF: [piece for text in canary.texts for piece in encodings(text.encode())],
            Kind.PHOTO: [piece for photo in canary.photos for piece in pieces_of(photo)],
            Kind.PIXELS: pixel_pieces(canary),
            Kind.HASH: [piece for photo in canary.photos for piece in hashes(photo)],
            Kind.CODE: encodings(canary.code.encode()),
            Kind.PRINTED: [
                piece for text in (canary.printed, canary.printed.lower()) for piece in encodings(text.encode())
            ],
            Kind.GPS: gps_pieces(canary),
        }

    def saw(self, boxes: Iterable[Sequence[float]], labels: Iterable[str], products: Iterable[str]) -> None:
        """Adds what an answer says about a photo. Boxes that cover all of it, and short texts, do not count."""
        self.boxes += [tuple(box) for box in boxes if sum(corner not in (0.0, 1.0) for corner in box) >= 3]
        self.labels |= {label for label in labels if label and label != UNSURE_LABEL}
        self.products |= {product for product in products if len(product) >= LEAST_TEXT}

    def in_bytes(self, data: bytes) -> set[Kind]:
        """The kinds of marks in any data."""
        found = {kind for kind, pieces in self.pieces.items() if any(piece in data for piece in pieces)}
        requests = [self.canary.invented, *self.further]
        if any(piece in data for text in requests for piece in encodings(text.encode())):
            found.add(Kind.REQUEST)
        return found

    def in_text(self, text: str) -> set[Kind]:
        """The kinds of marks in a text such as a log; those that bytes have, too."""
        found = self.in_bytes(text.encode(errors="replace"))
        for line in text.splitlines():
            found |= self._of_line(line)
        if vectors.has_vectors_as_text(text):
            found.add(Kind.EMBEDDING)
        return found

    def in_words(self, text: str) -> set[Kind]:
        """Labels and products that are words of a text."""
        found = set()
        for kind, words in ((Kind.LABEL, self.labels), (Kind.PRODUCT, self.products)):
            if words and re.search(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(words)))})(?!\w)", text):
                found.add(kind)
        return found

    def _of_line(self, line: str) -> set[Kind]:
        canary, found = self.canary, self.in_words(line)
        if any(numbers.has_size(line, size) for size in canary.sizes):
            found.add(Kind.SIZE)
        read = numbers.numbers_of(line)
        if {float(len(photo)) for photo in canary.photos[:3]} & {each[0] for each in read}:
            found.add(Kind.SIZE)
        if any(abs(each[0] - place) < 2e-4 and each[0] % 1 for each in read for place in canary.position) or any(
            numbers.has_row(read, degrees, 0.01) for degrees in canary.degrees
        ):
            found.add(Kind.GPS)
        if self._has_box(read):
            found.add(Kind.BOX)
        return found

    def _has_box(self, read: Sequence[tuple[float, int, int]]) -> bool:
        taps = [(self.canary.tap, 1e-3)]
        boxes = [form for box in self.boxes for form in numbers.forms(box, self.canary.sizes)]
        return any(numbers.has_row(read, row, error) for row, error in (*boxes, *taps))


def encodings(data: bytes) -> list[bytes]:
    """A text as it is, in UTF-16, as hexadecimal digits, and as base64 at any position."""
    found = [data, data.decode(errors="replace").encode("utf-16-le"), data.hex().encode()]
    for shift in range(3):
        # The letters that depend on the text before and after are left out.
        whole = base64.b64encode(bytes(shift) + data)
        found.append(whole[4 if shift else 0 : len(whole) - 4])
    return found


def pieces_of(photo: bytes, count: int = 16) -> list[bytes]:
    """Pieces of an encoded photo, spread over it; as they are, as base64 and as hexadecimal digits."""
    places = np.linspace(len(photo) * 0.3, len(photo) * 0.95 - WINDOW, count).astype(int)
    cut = [photo[place : place + WINDOW] for place in places]
    return [piece for each in cut if len(set(each)) > WINDOW // 2 for piece in encodings(each)]


def pixel_pieces(canary: Canary) -> list[bytes]:
    """Pieces of rows of pixels, in both orders of colours, as bytes and as floats."""
    found = []
    for image in (canary.pixels, canary.pixels[:, :, ::-1]):
        for row in np.linspace(3, len(image) - 3, 8).astype(int):
            part = np.ascontiguousarray(image[row, 20:30])
            found += [part.tobytes()[:WINDOW], part.astype(np.float32).tobytes()]
            found.append((part.astype(np.float32) / 255).tobytes())
    return found


def hashes(photo: bytes) -> list[bytes]:
    """The usual hashes of a photo, in the usual forms."""
    found = []
    for name in ("sha256", "sha1", "md5"):
        digest = hashlib.new(name, photo, usedforsecurity=False).digest()
        found += [digest, digest.hex().encode(), base64.b64encode(digest)[:-2], base64.urlsafe_b64encode(digest)[:-2]]
    return found


def gps_pieces(canary: Canary) -> list[bytes]:
    """Latitude and longitude as the EXIF has them: three fractions of two integers each."""
    found = []
    for degrees, minutes, _ in canary.degrees:
        for order in "<>":
            at = canary.exif.find(struct.pack(f"{order}4L", int(degrees), 1, int(minutes), 1))
            if at >= 0:
                found.append(canary.exif[at : at + 24])
    return found
