"""The output of the demo: `results.json`, an annotated PNG per photo, and `index.html`.

Rule: only files of the folder that the caller named are written; images of the feed are read from its folder, never
fetched.
"""

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from sightline_client import annotate
from sightline_client.answers import Answer, AnsweredObject
from sightline_client.events import Box, RankedProduct
from sightline_demo.page import Page, PageObject, PagePhoto, render

PHOTO_EDGE = 1080
THUMBNAIL_EDGE = 120
PICTURE_EDGE = 240
CROP_EDGE = 128

Answers = Sequence[tuple[Path, Answer]]


def write(out: Path, feed: Path, answers: Answers) -> Path:
    """Writes everything and returns the page's path."""
    out.mkdir(parents=True, exist_ok=True)
    results = [photo_result(path.name, answer) for path, answer in answers]
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    photos = [_photo(out, path, answer) for path, answer in answers]
    page = out / "index.html"
    page.write_text(render(Page(photos, _images(feed.parent, answers))), encoding="utf-8")
    return page


def photo_result(name: str, answer: Answer) -> dict[str, Any]:
    """One entry of `results.json`; boxes are [x_min, y_min, x_max, y_max], fractions of the upright photo."""
    return {"photo": name, "objects": [_object_result(each) for each in answer.objects]}


def _object_result(each: AnsweredObject) -> dict[str, Any]:
    found = each.object
    result: dict[str, Any] = {
        "box": [round(edge, 6) for edge in (found.box.x_min, found.box.y_min, found.box.x_max, found.box.y_max)],
        "label": found.label,
        "score": round(found.score, 6),
        "source": found.source.value,
        "products": [_product_result(ranked) for ranked in each.products],
    }
    return result if each.failure is None else {**result, "failure": each.failure.message}


def _product_result(ranked: RankedProduct) -> dict[str, Any]:
    return {
        "id": ranked.product.id,
        "title": ranked.product.title,
        "similarity": round(ranked.similarity, 6),
        "score": round(ranked.score, 6),
        "rank": ranked.rank,
        "level": ranked.level.value,
    }


def _photo(out: Path, path: Path, answer: Answer) -> PagePhoto:
    """The photo for the page; its annotated PNG is written on the way."""
    upright = annotate.upright(path.read_bytes(), PHOTO_EDGE)
    annotate.draw(upright, [each.object for each in answer.objects]).save(out / f"{path.stem}.png")
    objects = tuple(PageObject(each, _crop(upright, each.object.box)) for each in answer.objects)
    return PagePhoto(path.name, _jpeg(upright), _small(upright, THUMBNAIL_EDGE), upright.size, objects, answer.done)


def _crop(upright: Image.Image, box: Box) -> bytes:
    width, height = upright.size
    left, top = int(box.x_min * width), int(box.y_min * height)
    right, bottom = max(left + 1, round(box.x_max * width)), max(top + 1, round(box.y_max * height))
    return _small(upright.crop((left, top, right, bottom)), CROP_EDGE)


def _images(folder: Path, answers: Answers) -> dict[str, bytes]:
    """A small JPEG per catalog image that an answer names and that is in the feed's folder, by its link."""
    links = dict.fromkeys(link for _, answer in answers for each in answer.objects for link in _links(each.products))
    return {link: data for link in links if (data := _image(folder, link)) is not None}


def _links(products: Iterable[RankedProduct]) -> Iterable[str]:
    return (ranked.matched_image or ranked.product.image_link for ranked in products)


def _image(folder: Path, link: str) -> bytes | None:
    path = (folder / link).resolve()
    if "://" in link or not path.is_relative_to(folder.resolve()) or not path.is_file():
        return None
    try:
        return _small(annotate.upright(path.read_bytes()), PICTURE_EDGE)
    except OSError:
        return None


def _small(picture: Image.Image, edge: int) -> bytes:
    copy = picture.copy()
    copy.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    return _jpeg(copy)


def _jpeg(picture: Image.Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=82, optimize=True, progressive=True)
    return data.getvalue()
