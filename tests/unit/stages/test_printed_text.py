"""Printed text: lines are found in maps, straightened, decoded and compared, with bounded work on hostile images."""

import time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.domain.feature_bytes import MOST_TEXT, decode, encode
from sightline_server.domain.geometry import Box, Placement
from sightline_server.domain.image import Frame
from sightline_server.domain.local_features import COLOURS, LocalFeatures, no_features
from sightline_server.domain.preprocess import Colour, Fit, Preprocess, Resampler
from sightline_server.domain.printed_text_models import TextDetectorSpec, TextReaderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.search.printed_text import text_reasons
from sightline_server.stages.printed_text.characters import confident_text, read_lines
from sightline_server.stages.printed_text.finding import MOST_COMPONENTS, lines_in
from sightline_server.stages.printed_text.likeness import likenesses, rarity, runs_of, tells_apart
from sightline_server.stages.printed_text.lines import MOST_EDGE, line_image, on_part, readable_part
from sightline_server.stages.printed_text.reading import split_maps

SIDE = 640
READER = TextReaderSpec("reader", "1", 48, 320, 40)
Map = NDArray[np.uint8]


def empty() -> Map:
    return np.zeros((SIDE, SIDE), np.uint8)


def bars(*boxes: tuple[int, int, int, int], level: int = 250) -> Map:
    """A map with boxes (left, top, width, height)."""
    made = empty()
    for left, top, width, height in boxes:
        made[top : top + height, left : left + width] = level
    return made


def test_lines_are_found_grown_and_ordered_by_size() -> None:
    quads = lines_in(bars((100, 50, 80, 10), (300, 400, 200, 20)), 16)
    assert quads.shape == (2, 4, 2)
    # 1.6 x area / perimeter on each side, about 14.5 pixels, around the larger one.
    assert quads[0] == pytest.approx(np.array([[286, 386], [515, 386], [515, 435], [286, 435]]), abs=2)
    assert quads[1, 0, 1] < 50 < quads[1, 2, 1]


def test_a_turned_line_has_turned_corners() -> None:
    made = empty()
    cv2.line(made, (100, 100), (400, 200), 255, 12)
    (corners,) = lines_in(made, 16)
    slope = (corners[1] - corners[0]) / np.linalg.norm(corners[1] - corners[0])
    assert slope == pytest.approx(np.array([3, 1]) / np.sqrt(10), abs=0.05)


@pytest.mark.parametrize(
    ("made", "count"),
    [
        (empty(), 0),
        (bars((10, 10, 2, 2)), 0),
        (bars((10, 10, 200, 20), level=100), 0),
        (bars((0, 0, SIDE, SIDE)), 1),
        (bars((0, 0, SIDE, 1)), 1),
        (bars(*((x, y, 10, 5) for x in range(0, 640, 20) for y in range(0, 640, 20))), 16),
    ],
    ids=["nothing", "a spot", "unsure", "everything", "the edge", "a thousand lines"],
)
def test_any_map_gives_at_most_the_lines_that_are_asked_for(made: Map, count: int) -> None:
    assert len(lines_in(made, 16)) == count


def spots() -> Map:
    made = empty()
    made[::3, ::3] = 255
    return made


def rings() -> Map:
    made = empty()
    for radius in range(4, 320, 5):
        cv2.circle(made, (320, 320), radius, 255, 1)
    return made


HOSTILE = {
    "noise": np.random.default_rng(1).integers(0, 256, (SIDE, SIDE), np.uint8),
    "sparse noise": (np.random.default_rng(2).random((SIDE, SIDE)) < 0.1).astype(np.uint8) * 255,
    "forty thousand spots": spots(),
    "rings": rings(),
    "a chessboard": (np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 255).astype(np.uint8),
    "stripes": np.tile((np.arange(SIDE) % 6 < 2).astype(np.uint8)[:, None] * 255, (1, SIDE)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_maps_take_bounded_work(name: str) -> None:
    began = time.process_time()
    quads = lines_in(HOSTILE[name], 16)
    seconds = time.process_time() - began
    assert len(quads) <= 16 <= MOST_COMPONENTS
    assert np.isfinite(quads).all()
    assert seconds < 1.0
    part = Frame(np.full((SIDE, SIDE, 3), 90, np.uint8))
    assert all(line_image(part.pixels, each, READER).shape == (48, 320, 3) for each in quads)


def test_a_line_is_straight_upright_and_padded() -> None:
    pixels = np.zeros((200, 400, 3), np.uint8)
    pixels[50:74, 100:180] = (250, 10, 20)
    box = np.array([[100, 50], [180, 50], [180, 74], [100, 74]], np.float32)
    image = line_image(pixels, box, READER)
    assert (image[:, :158] == (250, 10, 20)).mean() > 0.95
    assert (image[:, 162:] == 128).all()
    turned = np.ascontiguousarray(np.rot90(pixels, -1))
    side = np.array([[126, 100], [150, 100], [150, 180], [126, 180]], np.float32)
    assert (line_image(turned, side, READER)[:, :158] == (250, 10, 20)).mean() > 0.95
    bgr = TextReaderSpec("r", "1", 48, 320, 40, Preprocess(Fit.SQUASH, Resampler.AREA, Colour.BGR))
    assert (line_image(pixels, box, bgr)[:, :158] == (20, 10, 250)).mean() > 0.95


@pytest.mark.parametrize(
    "corners",
    [
        [[0, 0], [0.1, 0], [0.1, 0.1], [0, 0.1]],
        [[-500, -500], [900, -500], [900, 900], [-500, 900]],
        [[10, 10], [390, 10], [390, 11], [10, 11]],
        [[10, 10], [11, 10], [11, 190], [10, 190]],
    ],
    ids=["a point", "beyond the image", "flat", "thin"],
)
def test_any_corners_give_an_image_of_the_readers_size(corners: list[list[float]]) -> None:
    pixels = np.full((200, 400, 3), 77, np.uint8)
    assert line_image(pixels, np.array(corners, np.float32), READER).shape == (48, 320, 3)


def test_the_part_of_a_photo_is_bounded_and_its_own() -> None:
    frame = Frame(np.full((3000, 4000, 3), 9, np.uint8))
    assert readable_part(frame, Box.whole()).pixels.shape == (960, MOST_EDGE, 3)
    small = Frame(np.full((30, 40, 3), 9, np.uint8), to_srgb=lambda pixels: pixels + np.uint8(1))
    part = readable_part(small, Box(0.5, 0.0, 1.0, 1.0))
    assert part.pixels.shape == (30, 20, 3) and (part.pixels == 10).all()
    assert not np.shares_memory(part.pixels, small.pixels)


def test_corners_go_back_to_the_part() -> None:
    place = Placement.inside(200, 100, 640, 640, centred=False)
    quads = np.array([[[0, 0], [640, 0], [640, 320], [0, 320]]], np.float32)
    found = on_part(quads, place, Frame(np.zeros((100, 200, 3), np.uint8)))
    assert found.tolist() == [[[0, 0], [200, 0], [200, 100], [0, 100]]]


def answer(*rows: str, probability: float = 0.9) -> dict[str, NDArray[np.generic]]:
    """The reader's answer, where `_` names no character."""
    characters = np.zeros((len(rows), 40), np.int32)
    for place, row in enumerate(rows):
        characters[place, : len(row)] = [0 if each == "_" else ord(each) for each in row]
    return {"CHARACTERS": characters, "PROBABILITIES": np.full(characters.shape, probability, np.float32)}


def test_repeated_characters_count_once_unless_divided() -> None:
    lines = read_lines(answer("MM_ii__ll_lk", "_", "牛奶", ""), 4, READER)
    assert [line.text for line in lines] == ["Millk", "", "牛奶", ""]
    assert [line.confidence for line in lines] == pytest.approx([0.9, 0, 0.9, 0])


def test_code_points_that_are_none_are_replaced() -> None:
    given = answer("ab")
    given["CHARACTERS"][0, :2] = (0xD800, 0x7FFFFFFF)
    (line,) = read_lines(given, 1, READER)
    assert line.text == "\ufffd\ufffd"


@pytest.mark.parametrize("fault", ["batch", "steps", "probabilities", "not finite"])
def test_an_answer_of_another_shape_is_refused(fault: str) -> None:
    given = answer("ab")
    if fault == "steps":
        given = {name: each[:, :39] for name, each in given.items()}
    elif fault == "probabilities":
        given["PROBABILITIES"] = given["PROBABILITIES"][:, :39]
    elif fault == "not finite":
        given["PROBABILITIES"] = np.full((1, 40), np.nan, np.float32)
    with pytest.raises(SightlineError) as refused:
        read_lines(given, 2 if fault == "batch" else 1, READER)
    assert refused.value.kind is ErrorKind.MODEL_ANSWER
    with pytest.raises(SightlineError, match="text detector"):
        split_maps({"TEXT": np.zeros((1, 5, 5), np.uint8)}, 1, TextDetectorSpec("d", "1", 64, 64))


def test_unsure_lines_do_not_count_and_the_text_is_bounded() -> None:
    lines = [*read_lines(answer("sure"), 1, READER), *read_lines(answer("unsure", probability=0.5), 1, READER)]
    assert confident_text(lines, 0.6, 100) == "sure"
    assert confident_text(lines * 100, 0.1, 50) == ("sure\nunsure\n" * 5)[:50]


def test_runs_are_of_words_without_case_and_accents() -> None:
    assert runs_of("Élan") == runs_of("ELAN!") == {" el", "ela", "lan", "an "}
    assert runs_of("a-b") == {" a ", " b "}
    assert runs_of(" _ ") == frozenset()
    assert runs_of("牛奶") == {" 牛奶", "牛奶 "}


MILK = {"p1": ("Arla Whole Milk",), "p2": ("Arla Skimmed Milk",), "p3": ("Arla Sour Cream",)}


def test_the_product_whose_name_is_printed_is_the_most_alike() -> None:
    found = likenesses("ARLA\nskimed mlk\n3 dl", MILK)
    assert max(found, key=lambda each: found[each]) == "p2"
    assert all(0 <= each <= 1 for each in found.values())
    assert likenesses("arla whole milk", MILK)["p1"] == pytest.approx(1)


@pytest.mark.parametrize("text", ["", "xyz", "arla", "x" * 100_000])
def test_a_text_that_tells_no_product_apart_says_nothing(text: str) -> None:
    assert likenesses(text, MILK) == {}


def test_products_of_one_name_are_not_told_apart() -> None:
    assert not tells_apart({"p1": ("Arla Milk",), "p2": ("Arla Milk",)})
    assert not tells_apart({"p1": ("",), "p2": ("",)})
    assert not tells_apart({"p1": ("Milk",)})
    assert tells_apart(MILK)
    assert rarity([{"a"}, {"a", "b"}]) == pytest.approx({"a": 0, "b": np.log(2)})


def test_a_reason_says_how_alike_texts_are_and_not_what_they_say() -> None:
    reasons = text_reasons("whole milk SECRET", MILK, 0.06)
    (reason,) = reasons["p1"]
    assert 0.03 < reason.contribution <= 0.06
    assert "SECRET".casefold() not in str(reasons).casefold() and "milk" not in str(reasons)


def test_a_text_is_stored_with_local_features() -> None:
    bare = no_features()
    colours = np.arange(COLOURS).astype(np.uint8)
    for text in ("", "Milch 牛奶", None):
        found = decode(encode(LocalFeatures(bare.points, bare.descriptors, colours, text)))
        assert found is not None and found.text == text and found.colours is not None
        assert found.colours.tolist() == colours.tolist()
    long = decode(encode(LocalFeatures(bare.points, bare.descriptors, colours, "牛" * MOST_TEXT)))
    assert long is not None and long.text == "牛" * (MOST_TEXT // 3)
    stored = encode(LocalFeatures(bare.points, bare.descriptors, colours, "a"))
    assert [decode(each) for each in (stored[:-2], stored + b"a" * MOST_TEXT, b"SLF4" + stored[4:])] == [None] * 3


def test_of_the_name_and_the_image_the_text_that_is_most_alike_counts() -> None:
    products = {"p1": ("Whole Milk", "a long list of ingredients"), "p2": ("Cream", "arla mellanmjölk 1,5 %")}
    assert likenesses("WHOLE MILK", products)["p1"] == pytest.approx(1)
    assert likenesses("arla mellanmjolk 1.5", products)["p2"] == pytest.approx(1)
    assert tells_apart({"p1": ("Milk", "a text"), "p2": ("Milk", "")})
