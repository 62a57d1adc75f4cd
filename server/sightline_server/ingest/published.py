"""A product of a feed -> the product as callers may see it: no link in it holds a user's name or password."""

from dataclasses import replace

from sightline_server.domain.items import Product
from sightline_server.ingest.link_secrets import publishable_link, user_info, without_user_info
from sightline_server.ingest.links import UnreadableImageError, WebLink, classify

FREE_TEXTS = ("title", "brand", "category", "price", "availability", "item_group_id", "gtin")
LINK_COLUMNS = ("link", "url", "href")


def published(product: Product, first_link: str) -> Product:
    """`product` as callers may see it: without the user info of any link, its `image_link` absolute.

    `first_link` replaces an `image_link` that held user info.
    """
    image_link = product.image_link
    start, end = user_info(image_link)
    try:
        target = classify(image_link)
        image_link = target.url if isinstance(target, WebLink) else image_link
    except UnreadableImageError:
        image_link = first_link if start < end else image_link
    return replace(
        product,
        image_link=publishable_link(image_link),
        link=publishable_link(product.link),
        attributes={name: publishable(name, text) for name, text in product.attributes.items()},
        **{name: without_user_info(getattr(product, name)) for name in FREE_TEXTS},
    )


def publishable(name: str, text: str) -> str:
    """The value of an attribute as callers may see it; the column's name says whether it is a link as a whole."""
    return publishable_link(text) if name.endswith(LINK_COLUMNS) else without_user_info(text)
