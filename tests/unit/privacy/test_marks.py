"""The marks of a canary are found in each form in which they may be left, and not in what resembles them."""

import base64
import json
import os
import struct
from collections.abc import Callable

import numpy as np
import pytest
import zxingcpp
from PIL import Image

from sightline_privacy import ean, numbers, vectors
from sightline_privacy.canary import Canary, make_canary
from sightline_privacy.marks import Kind, Marks


@pytest.fixture(scope="module")
def canary() -> Canary:
    return make_canary()


@pytest.fixture
def marks(canary: Canary) -> Marks:
    made = Marks(canary)
    made.saw([(0.1231, 0.2342, 0.5453, 0.7664), (0.0, 0.0, 1.0, 1.0)], ["chair", "object", ""], ["product-17", "p1"])
    return made


TEXTS: dict[str, tuple[Callable[[Canary], str], set[Kind]]] = {
    "EXIF": (lambda c: f"Artist: {c.texts[2]}.", {Kind.EXIF}),
    "EXIF as base64": (lambda c: base64.b64encode(b"x" + c.texts[0].encode() + b"yz").decode(), {Kind.EXIF}),
    "EXIF as hexadecimal digits": (lambda c: c.texts[1].encode().hex(), {Kind.EXIF}),
    "position": (lambda c: f"lat={c.position[0]:.4f}", {Kind.GPS}),
    "degrees": (lambda c: str(c.degrees[1]), {Kind.GPS}),
    "code": (lambda c: f"gtin {c.code}", {Kind.CODE}),
    "printed text": (lambda c: f"read {c.printed}", {Kind.PRINTED}),
    "printed text in small letters": (lambda c: f"read {c.printed.lower()}", {Kind.PRINTED}),
    "size": (lambda c: json.dumps({"width": c.sizes[0][0], "height": c.sizes[0][1]}), {Kind.SIZE}),
    "size in bytes": (lambda c: f"received {len(c.jpeg)} bytes", {Kind.SIZE}),
    "box as JSON": (lambda c: '{"x": 0.1231, "y": 0.2342, "w": 0.4222, "h": 0.5322}', {Kind.BOX}),
    "box in two decimals": (lambda c: "0.12,0.23,0.55,0.77", {Kind.BOX}),
    "box in pixels": (
        lambda c: " ".join(str(round(f * c.sizes[0][n % 2])) for n, f in enumerate(c.box)),
        {Kind.BOX},
    ),
    "tap": (lambda c: f"({c.tap[0]}, {c.tap[1]})", {Kind.BOX}),
    "label": (lambda c: "saw a chair here", {Kind.LABEL}),
    "product": (lambda c: "best=product-17", {Kind.PRODUCT}),
    "invented": (lambda c: f"no catalog {c.invented!r}", {Kind.REQUEST}),
    "embedding": (lambda c: str(unit(128).tolist()), {Kind.EMBEDDING}),
    "clean": (lambda c: "2026-11-26 22:46:08,123 INFO chairs p1 0.005 0.01 0.025 0.05 seconds=1.5 port=50051", set()),
}


def unit(dimension: int) -> "np.typing.NDArray[np.float32]":
    raw = np.random.default_rng(3).normal(size=dimension)
    return np.asarray(raw / np.linalg.norm(raw), np.float32)


@pytest.mark.parametrize("name", TEXTS)
def test_each_form_of_a_mark_is_found_in_a_text(name: str, canary: Canary, marks: Marks) -> None:
    make, kinds = TEXTS[name]
    assert marks.in_text(f"line one\n{make(canary)}\nline three") == kinds


def test_pieces_of_a_photo_its_pixels_and_its_hash_are_found_in_bytes(canary: Canary, marks: Marks) -> None:
    assert Kind.PHOTO in marks.in_bytes(canary.jpeg[len(canary.jpeg) // 2 :])
    assert Kind.EXIF in marks.in_bytes(canary.jpeg)
    assert Kind.GPS in marks.in_bytes(canary.jpeg)
    assert not marks.in_bytes(canary.bare) & {Kind.EXIF, Kind.GPS}
    # A PNG of noise has its pixels as they are.
    assert marks.in_bytes(canary.pixels.tobytes()) - {Kind.PHOTO} == {Kind.PIXELS}
    assert marks.in_bytes((canary.pixels[:, :, ::-1] / np.float32(255)).astype(np.float32).tobytes()) == {Kind.PIXELS}
    assert marks.in_bytes(os.urandom(1 << 20)) == set()


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_vectors_of_length_one_are_found_behind_any_header(kind: str) -> None:
    rows = np.stack([unit(256), unit(256)[::-1]]).astype(kind)
    assert vectors.has_vectors(b"head" * 8 + rows.tobytes())
    assert not vectors.has_vectors((rows * 3).tobytes())


def test_other_bytes_are_no_vectors(canary: Canary) -> None:
    for data in (
        os.urandom(200_000),
        canary.jpeg,
        canary.png,
        b"text 0.5 " * 5000,
        bytes(50_000),
        struct.pack("<f", 1),
    ):
        assert not vectors.has_vectors(data)


def test_the_barcode_of_a_canary_can_be_read(canary: Canary) -> None:
    image = np.asarray(ean.drawn(canary.code))
    assert [each.text for each in zxingcpp.read_barcodes(image)] == [canary.code]


def test_a_canary_shows_the_photo_that_is_given() -> None:
    made = make_canary(Image.new("RGB", (400, 300), (200, 30, 30)))
    assert made.jpeg != make_canary(Image.new("RGB", (400, 300), (200, 30, 30))).jpeg


def test_a_row_of_numbers_needs_to_be_close_together() -> None:
    far = "0.12 " + "x" * 60 + " 0.23 0.55 0.77"
    assert not numbers.has_row(numbers.numbers_of(far), (0.12, 0.23, 0.55, 0.77), 0.01)
