"""The demo's page and results: complete, self-contained, and safe whatever a feed says."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from sightline_client import events
from sightline_client.answers import Answer
from sightline_demo import report
from sightline_demo.page import Page, PageObject, PagePhoto, render
from tests.support.fake_lens import ANSWER, CHAIR, DONE, ranked

HOSTILE = '<script>alert("x")</script>\'"&'


def jpeg(colour: str = "red", size: tuple[int, int] = (40, 20)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "JPEG")
    return data.getvalue()


class Outline(HTMLParser):
    """Collects every tag with its attributes, and checks that tags are closed in order."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute)) is not None]


def page(text: str = "A chair", products: int = 7) -> Page:
    found = replace(CHAIR, label=text)
    shown = []
    for rank in range(1, products + 1):
        one = ranked(f"p{rank}", rank)
        product = replace(one.product, title=text, brand=text, price=text, availability=text, link=text)
        shown.append(replace(one, product=product, reasons=(replace(one.reasons[0], text=text),)))
    done = replace(DONE, detector=text, embedder=text, catalog_revision=text)
    events_: list[events.Event] = [events.Detected((found,)), events.ObjectResults(found.object_id, tuple(shown)), done]
    (answered,) = Answer.of(events_).objects
    photo = PagePhoto(text, jpeg(), jpeg("blue"), (40, 20), (PageObject(answered, jpeg("green")),), done)
    return Page([photo], {"products/p1.jpg": jpeg("white"), "products/p2.jpg": jpeg("black")})


def test_nothing_of_a_feed_becomes_markup() -> None:
    outline = Outline(render(page(HOSTILE)))
    assert outline.open == []
    assert "script" not in {tag for tag, _ in outline.tags}
    assert HOSTILE in outline.values("aria-label")
    assert not [name for _, attributes in outline.tags for name in attributes if name.startswith("on")]


def test_the_page_asks_for_nothing_from_anywhere() -> None:
    text = render(page())
    outline = Outline(text)
    assert all(source.startswith("data:image/jpeg;base64,") for source in outline.values("src"))
    assert all(target.startswith("#") for target in outline.values("href"))
    assert all(url.startswith("data:") for url in re.findall(r"url\(([^)]*)\)", text))
    assert "default-src 'none'" in text


def test_every_box_leads_to_its_object() -> None:
    outline = Outline(render(page()))
    names = set(outline.values("id"))
    assert {target.removeprefix("#") for target in outline.values("href")} <= names
    (box,) = [attributes for tag, attributes in outline.tags if attributes.get("class") == "box"]
    assert "left:25.00%;top:50.00%;width:25.00%;height:50.00%" in str(box["style"])


def test_a_picture_is_in_the_page_once_and_products_unfold_after_five() -> None:
    text = render(page())
    assert text.count(".p0{background-image") == 1
    assert text.count('class="card"') == 7
    assert "2 more" in text
    assert text.index("<details><summary>2 more") > text.index("<b>5</b></div>")


def test_an_object_without_products_and_a_failed_one_are_told() -> None:
    answer = Answer.of(ANSWER)
    shown = tuple(PageObject(replace(each, products=()), jpeg()) for each in answer.objects)
    text = render(Page([PagePhoto("a.jpg", jpeg(), jpeg(), (40, 20), shown, answer.done)], {}))
    assert "the embedder&#x27;s answer cannot be used" in text
    assert "Nothing in the catalog comes near." in text


def test_a_photo_of_people_only_says_why_nothing_was_searched() -> None:
    done = replace(DONE, notice=events.Notice.PERSON_ONLY)
    text = render(Page([PagePhoto("a.jpg", jpeg(), jpeg(), (40, 20), (), done)], {}))
    assert "people are not searched" in text


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A feed's folder with one product image, a photo, and an image outside of it."""
    (tmp_path / "world" / "products").mkdir(parents=True)
    (tmp_path / "world" / "products" / "p1.jpg").write_bytes(jpeg())
    (tmp_path / "world" / "products" / "p2.jpg").write_bytes(b"not an image")
    (tmp_path / "outside.jpg").write_bytes(jpeg())
    (tmp_path / "world" / "room.jpg").write_bytes(jpeg("gray", (80, 60)))
    return tmp_path / "world"


def test_the_folder_holds_page_results_and_annotated_photos(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written = report.write(out, world / "feed.csv", [(world / "room.jpg", Answer.of(ANSWER))])
    assert written == out / "index.html"
    assert sorted(path.name for path in out.iterdir()) == ["index.html", "results.json", "room.png"]
    (entry,) = json.loads((out / "results.json").read_text())
    assert entry["photo"] == "room.jpg"
    chair, vase = entry["objects"]
    assert (chair["box"], chair["label"], chair["score"], chair["source"]) == (
        [0.25, 0.5, 0.5, 1.0],
        "chair",
        0.75,
        "detector",
    )
    assert chair["failure"]
    assert vase["products"][0] == {
        "id": "p1",
        "title": "Title of p1",
        "similarity": 0.5,
        "score": 0.625,
        "rank": 1,
        "level": "similar",
    }
    with Image.open(out / "room.png") as drawn:
        assert drawn.size == (80, 60)


@pytest.mark.parametrize(
    "link", ["../outside.jpg", "https://shop.example/p.jpg", "products/none.jpg", "products/p2.jpg", "/etc/passwd"]
)
def test_images_come_from_the_folder_of_the_feed_only(world: Path, link: str) -> None:
    assert report._image(world, link) is None
    assert report._image(world, "products/p1.jpg") is not None
