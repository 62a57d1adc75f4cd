"""The showroom is consistent: its files agree with each other and with the images."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from sightline_server.ingest.feed import read_feed
from sightline_server.ingest.feed_rows import FeedRow

SHOWROOM = Path(__file__).resolve().parents[3] / "examples" / "showroom"
MOST_BYTES = 12 * 1024 * 1024


def rows(name: str) -> list[dict[str, str]]:
    with (SHOWROOM / name).open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def feed() -> list[dict[str, str]]:
    return rows("feed.csv")


@pytest.fixture(scope="module")
def truth() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((SHOWROOM / "truth.json").read_text(encoding="utf-8"))
    return loaded


def kind(product_id: str) -> str:
    return product_id.rsplit("-", 1)[0]


def pictures(row: dict[str, str]) -> list[str]:
    more = row["additional_image_link"]
    return [row["image_link"], *(more.split(",") if more else ())]


def check_digit(digits: str) -> int:
    weighted = (int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
    return -sum(weighted) % 10


def test_ids_are_unique_and_every_cell_that_a_shop_needs_is_filled(feed: list[dict[str, str]]) -> None:
    assert len({row["id"] for row in feed}) == len(feed)
    needed = set(feed[0]) - {"additional_image_link", "item_group_id"}
    assert [(row["id"], name) for row in feed for name in needed if not row[name].strip()] == []
    assert {row["availability"] for row in feed} <= {"in_stock", "out_of_stock"}
    assert all(re.fullmatch(r"\d+\.\d\d USD", row["price"]) for row in feed)


def test_the_catalog_build_reads_every_row_with_all_its_pictures(feed: list[dict[str, str]]) -> None:
    read = list(read_feed(SHOWROOM / "feed.csv"))
    assert [row for row in read if not isinstance(row, FeedRow)] == []
    assert [len(row.images) for row in read if isinstance(row, FeedRow)] == [len(pictures(row)) for row in feed]


def test_gtins_are_unique_and_their_check_digits_right(feed: list[dict[str, str]]) -> None:
    gtins = [row["gtin"] for row in feed]
    assert len(set(gtins)) == len(gtins)
    assert all(re.fullmatch(r"\d{13}", gtin) and check_digit(gtin[:-1]) == int(gtin[-1]) for gtin in gtins)
    assert check_digit("400638133393") == 1  # the example of the GS1 specification


def test_every_product_picture_exists_at_512_by_512_and_no_other_lies_there(feed: list[dict[str, str]]) -> None:
    named = [name for row in feed for name in pictures(row)]
    assert sorted(named) == sorted(f"products/{path.name}" for path in (SHOWROOM / "products").iterdir())
    for name in named:
        with Image.open(SHOWROOM / name) as picture:
            assert (name, picture.format, picture.size) == (name, "JPEG", (512, 512))


def test_there_is_enough_to_search(feed: list[dict[str, str]], truth: list[dict[str, Any]]) -> None:
    kinds = Counter(kind(row["id"]) for row in feed)
    assert len(feed) >= 60
    assert len(kinds) >= 10
    assert min(kinds.values()) >= 5
    assert len(truth) >= 16
    assert sum(not photo["objects"] for photo in truth) >= 2
    assert all(3 <= len(photo["objects"]) <= 6 for photo in truth if photo["objects"])


def test_every_kind_has_variants_that_share_an_item_group(feed: list[dict[str, str]]) -> None:
    groups = Counter((kind(row["id"]), row["item_group_id"]) for row in feed if row["item_group_id"])
    assert all(count >= 2 for count in groups.values())
    assert {name for name, _ in groups} == {kind(row["id"]) for row in feed}


def test_truth_names_every_photo_once_with_its_upright_size(truth: list[dict[str, Any]]) -> None:
    assert sorted(photo["photo"] for photo in truth) == sorted(
        f"photos/{path.name}" for path in (SHOWROOM / "photos").iterdir()
    )
    orientations = set()
    for photo in truth:
        with Image.open(SHOWROOM / photo["photo"]) as picture:
            orientations.add(picture.getexif().get(0x0112, 1))
            assert sorted(picture.size) == [960, 1280]
            assert ImageOps.exif_transpose(picture).size == (photo["width"], photo["height"])
    assert len(orientations - {1}) >= 2


def test_truth_boxes_lie_in_their_photos_and_name_products_of_the_feed(
    feed: list[dict[str, str]], truth: list[dict[str, Any]]
) -> None:
    sold = {row["id"] for row in feed}
    for photo in truth:
        ids = [thing["product_id"] for thing in photo["objects"]]
        assert set(ids) <= sold
        assert len(set(ids)) == len(ids)
        for thing in photo["objects"]:
            x0, y0, x1, y1 = thing["box"]
            assert 0 <= x0 < x1 <= 1
            assert 0 <= y0 < y1 <= 1
            assert 0 < thing["visible"] <= 1


def test_the_query_files_say_what_the_truth_says(truth: list[dict[str, Any]]) -> None:
    boxed = {(photo["photo"], thing["product_id"]): thing["box"] for photo in truth for thing in photo["objects"]}
    queries = {
        (row["image"], row["product_id"]): [float(part) for part in row["box"].split(",")]
        for row in rows("queries.csv")
    }
    assert queries == boxed
    whole = [(row["image"], row["product_id"]) for row in rows("queries_whole_path.csv")]
    assert sorted(whole) == sorted(boxed)


def test_the_folder_stays_under_twelve_megabytes() -> None:
    files = [path for path in SHOWROOM.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
