"""The columns of a record that name images -> the links in them."""

from collections.abc import Mapping
from urllib.parse import urljoin

from sightline_server.ingest.feeds.links import split_links
from sightline_server.ingest.feeds.texts import as_text

IMAGES = ("image_link", "additional_image_link")
LINK_NAMES = (
    *("url", "link", "src", "href", "image_link", "additional_image_link", "image_url", "image_src"),
    *("image", "img", "picture", "photo"),
)
"""Names under which an object holds an image's link, such as `<images><image><url>`."""


def image_links(values: Mapping[str, object]) -> tuple[str, ...]:
    """The links of a record's images, each once: those of `image_link`, then those of `additional_image_link`."""
    cells = [text for name in IMAGES for text in link_texts(values.get(name))]
    return tuple(dict.fromkeys(link for cell in cells for link in split_links(cell)))


def link_texts(cell: object) -> list[str]:
    """The links of a cell; of an object, such as `{"url": ...}` or `{"image": [...]}`, those in it."""
    if isinstance(cell, Mapping):
        return next((link_texts(cell[name]) for name in LINK_NAMES if cell.get(name)), [])
    if isinstance(cell, list | tuple):
        return [text for part in cell for text in link_texts(part)]
    return [as_text(cell)]


def joined(base_url: str, link: str) -> str:
    """`link` as seen from `base_url`; a malformed one stays as it is, and is later reported as an image."""
    try:
        return urljoin(base_url, link)
    except ValueError:
        return link
