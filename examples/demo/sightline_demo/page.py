"""The demo's page: one HTML file that contains everything that it shows, images included.

Rule: pure. Images come in as bytes and go out as data URIs, each product image once; every text is escaped; no
script, no request to anywhere (the page's own Content-Security-Policy says so).
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from sightline_client import annotate
from sightline_client.answers import AnsweredObject
from sightline_client.cli import tables
from sightline_client.events import DetectedObject, Done, MatchLevel, ObjectSource, RankedProduct

SHOWN_AT_ONCE = 5
"""Products per object in the open; the others unfold."""

LEVELS = {
    MatchLevel.SAME_ITEM: ("same", "same item"),
    MatchLevel.SIMILAR: ("similar", "similar"),
    MatchLevel.WEAK: ("weak", "weak"),
    MatchLevel.UNKNOWN: ("weak", "match"),
}
SOURCES = {
    ObjectSource.DETECTOR: "found by the detector",
    ObjectSource.BOX: "a box of the request",
    ObjectSource.TAP: "a tap",
    ObjectSource.WHOLE_PHOTO: "the whole photo, because the detector found nothing in it",
    ObjectSource.CODE: "a barcode or QR code of a product",
    ObjectSource.UNKNOWN: "",
}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class PageObject:
    """One object as shown: the answer and the JPEG of what was searched."""

    answered: AnsweredObject
    crop: bytes


@dataclass(frozen=True, slots=True)
class PagePhoto:
    """One photo as shown: its upright JPEG of `size` (width, height) pixels, a small one, and its objects."""

    name: str
    picture: bytes
    thumbnail: bytes
    size: tuple[int, int]
    objects: tuple[PageObject, ...]
    done: Done | None


@dataclass(frozen=True, slots=True)
class Page:
    """Everything on the page. `pictures` are JPEGs by catalog image link, those without one get a plain tile."""

    photos: Sequence[PagePhoto]
    pictures: dict[str, bytes]


def render(page: Page) -> str:
    """The whole page."""
    classes = {link: f"p{number}" for number, link in enumerate(page.pictures)}
    style = resources.files("sightline_demo").joinpath("page.css").read_text(encoding="utf-8")
    images = "".join(f".{classes[link]}{{background-image:url({_uri(data)})}}" for link, data in page.pictures.items())
    body = "".join(_photo(number, photo, classes) for number, photo in enumerate(page.photos, 1))
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>Sightline demo</title><style>{style}{images}</style></head>"
        f"<body>{_header(page.photos)}<main>{body}</main>{_footer(page.photos)}</body></html>\n"
    )


def _header(photos: Sequence[PagePhoto]) -> str:
    objects = [each for photo in photos for each in photo.objects]
    products = sum(len(each.answered.products) for each in objects)
    times = sorted(photo.done.timings.total_ms for photo in photos if photo.done is not None)
    middle = f"{times[len(times) // 2]:.0f} ms" if times else "none"
    facts = (
        ("photos", len(photos)),
        ("objects", len(objects)),
        ("products ranked", products),
        ("median answer", middle),
    )
    tiles = "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in facts)
    return (
        "<header><h1>Sightline</h1>"
        "<p>Each photo went to the server as one gRPC call. It found the objects, embedded each one, searched it in "
        "the shop&rsquo;s catalog and streamed the ranked products back.</p>"
        f"<dl>{tiles}</dl>{_contents(photos)}</header>"
    )


def _contents(photos: Sequence[PagePhoto]) -> str:
    links = "".join(
        f'<a href="#photo-{number}"><img src="{_uri(photo.thumbnail)}" alt="{escape(photo.name)}"></a>'
        for number, photo in enumerate(photos, 1)
    )
    return f'<nav aria-label="Photos">{links}</nav>' if len(photos) > 1 else ""


def _photo(number: int, photo: PagePhoto, classes: dict[str, str]) -> str:
    width, height = photo.size
    boxes = "".join(_box(number, place, each.answered.object) for place, each in _largest_first(photo.objects))
    objects = "".join(_object(number, place, each, classes) for place, each in enumerate(photo.objects, 1))
    shape, name = "photo portrait" if height > width else "photo", escape(photo.name)
    return (
        f'<section id="photo-{number}"><div class="{shape}"><h2>{name}</h2>'
        f'<figure style="aspect-ratio:{width}/{height}">'
        f'<img src="{_uri(photo.picture)}" width="{width}" height="{height}" alt="{name}">{boxes}</figure>'
        f'{_timings(photo.done)}</div><div class="objects">{_notice(photo.done)}{objects}</div></section>'
    )


def _notice(done: Done | None) -> str:
    message = tables.NOTICES.get(done.notice) if done is not None and done.notice is not None else None
    return f'<p class="none">{escape(message)}</p>' if message else ""


def _largest_first(objects: Sequence[PageObject]) -> Iterable[tuple[int, PageObject]]:
    def area(numbered: tuple[int, PageObject]) -> float:
        box = numbered[1].answered.object.box
        return (box.x_max - box.x_min) * (box.y_max - box.y_min)

    return sorted(enumerate(objects, 1), key=area, reverse=True)


def _box(photo: int, number: int, found: DetectedObject) -> str:
    box = found.box
    place = (
        f"left:{100 * box.x_min:.2f}%;top:{100 * box.y_min:.2f}%;"
        f"width:{100 * (box.x_max - box.x_min):.2f}%;height:{100 * (box.y_max - box.y_min):.2f}%"
    )
    title = escape(annotate.caption(number, found))
    return (
        f'<a class="box" href="#photo-{photo}-object-{number}" title="{title}" '
        f'style="--ink:{annotate.colour(number)};{place}"><b>{number}</b></a>'
    )


def _object(photo: int, number: int, each: PageObject, classes: dict[str, str]) -> str:
    found = each.answered.object
    label = found.label or found.source.value.replace("_", " ")
    score = f"<span>{found.score:.0%} sure</span>" if found.score > 0 else ""
    heading = (
        f'<div class="head"><img src="{_uri(each.crop)}" alt="What was searched" loading="lazy">'
        f"<h3><b>{number}</b>{escape(label)}</h3><p>{score}<span>{escape(SOURCES[found.source])}</span></p></div>"
    )
    return (
        f'<article id="photo-{photo}-object-{number}" style="--ink:{annotate.colour(number)}">'
        f"{heading}{_products(each.answered, classes)}</article>"
    )


def _products(answered: AnsweredObject, classes: dict[str, str]) -> str:
    if answered.failure is not None:
        return f'<p class="none">{escape(answered.failure.message)}</p>'
    if not answered.products:
        return '<p class="none">Nothing in the catalog comes near.</p>'
    cards = [_card(ranked, classes) for ranked in answered.products]
    first, rest = cards[:SHOWN_AT_ONCE], cards[SHOWN_AT_ONCE:]
    more = f"<details><summary>{len(rest)} more</summary><ol>{''.join(rest)}</ol></details>" if rest else ""
    return f"<ol>{''.join(first)}</ol>{more}"


def _card(ranked: RankedProduct, classes: dict[str, str]) -> str:
    product = ranked.product
    title = escape(product.title or product.id)
    style, level = LEVELS[ranked.level]
    picture = classes.get(ranked.matched_image) or classes.get(product.image_link, "")
    offer = " &middot; ".join(escape(text) for text in (product.price, _stock(product.availability)) if text)
    why = "".join(f"<li>{escape(reason.text)} <i>{reason.contribution:+.3f}</i></li>" for reason in ranked.reasons)
    return (
        f'<li class="card"><div class="pic {picture}" role="img" aria-label="{title}"><b>{ranked.rank}</b></div>'
        f'<h4>{title}</h4><p class="line">{escape(product.brand)}</p><p class="offer">{offer}</p>'
        f'<p class="level {style}">{level}</p><div class="bar" title="similarity {ranked.similarity:.3f}">'
        f'<i style="width:{100 * min(1.0, max(0.0, ranked.similarity)):.1f}%"></i></div>'
        f'<p class="line">score <b>{ranked.score:.3f}</b></p>'
        f'<ul class="why">{why}</ul></li>'
    )


def _stock(availability: str) -> str:
    return "" if availability == "in_stock" else availability.replace("_", " ")


def _timings(done: Done | None) -> str:
    if done is None:
        return ""
    times = done.timings
    cells = "".join(f"<span>{name} <b>{value:.0f}</b></span>" for name, value in times.stages.items() if value >= 0.5)
    return f'<p class="times"><span>answered in <b>{times.total_ms:.0f} ms</b></span>{cells}</p>'


def _footer(photos: Sequence[PagePhoto]) -> str:
    done = next((photo.done for photo in photos if photo.done is not None), None)
    if done is None:
        return ""
    facts = (("detector", done.detector), ("embedder", done.embedder), ("catalog revision", done.catalog_revision))
    text = " &middot; ".join(f"{name} <code>{escape(value)}</code>" for name, value in facts)
    return f"<footer><p>{text}</p><p>Bars show the cosine similarity from 0 to 1.</p></footer>"


def _uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
