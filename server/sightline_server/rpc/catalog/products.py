"""Products of the contract <-> products of a catalog, checked.

Rule: each check names its field. What a feed may spell in many ways has one form here, because a program sends it.
"""

import re
from decimal import Decimal

from sightline.v1 import catalog_service_pb2, product_pb2
from sightline_server.domain.catalog_rows import Price, ProductUpdate, StoredProduct
from sightline_server.domain.items import Product
from sightline_server.ingest.feeds.availability import SPELLINGS
from sightline_server.ingest.feeds.currencies import CODES
from sightline_server.ingest.link_secrets import user_info
from sightline_server.rpc.catalog.names import product_name
from sightline_server.rpc.lens.convert import to_product
from sightline_server.rpc.refusals import invalid

TEXTS = ("title", "brand", "category", "item_group_id", "gtin")
LINKS = ("link", "image_link")
MAX_TEXT_BYTES, MAX_LINK_BYTES = 5000, 2000
MAX_ATTRIBUTES, MAX_ATTRIBUTE_BYTES, MAX_NAME_BYTES = 100, 5000, 100
MAX_PRODUCT_BYTES = 64 * 1024
PRICE = re.compile(r"(-?)([0-9]{1,14}(?:\.[0-9]{1,4})?) ([A-Z]{3})")
UPDATABLE_TEXTS = ("title", "brand", "category", "availability", "link", "item_group_id", "gtin")
MASK = (*UPDATABLE_TEXTS, "price", "attributes")


def checked_product(sent: product_pb2.Product, product_id: str, field: str) -> tuple[Product, Price | None]:
    """The product with the id `product_id`, and its price. Raises `SightlineError` that names the field below `field`.

    A text that is empty is as one that is not there.
    """
    for name in TEXTS:
        check_bytes(f"{field}.{name}", getattr(sent, name), MAX_TEXT_BYTES)
    for name in LINKS:
        check_link(f"{field}.{name}", getattr(sent, name))
    if sent.availability and sent.availability not in SPELLINGS:
        raise invalid(f"{field}.availability", f"expected {', '.join(SPELLINGS)} or nothing")
    check_attributes(sent, f"{field}.attributes")
    if sent.ByteSize() > MAX_PRODUCT_BYTES:
        raise invalid(field, f"a product has at most {MAX_PRODUCT_BYTES} bytes of text")
    price = to_price(sent.price, f"{field}.price")
    texts = {name: str(getattr(sent, name)) for name in (*TEXTS, *LINKS, "availability")}
    attributes = dict(sorted(sent.attributes.items()))
    return Product(product_id, price=str(price) if price else "", attributes=attributes, **texts), price


def to_price(text: str, field: str) -> Price | None:
    """The price of a text such as `15.00 USD`; None for an empty one. Raises `SightlineError`."""
    if not text:
        return None
    found = PRICE.fullmatch(text)
    if not found:
        raise invalid(field, "expected an amount and an ISO 4217 currency, such as 15.00 USD")
    if found[1]:
        raise invalid(field, "a price is not negative")
    if found[3] not in CODES:
        raise invalid(field, "the currency is not an ISO 4217 code that circulates")
    return Price(Decimal(found[2]), found[3])


def check_attributes(sent: product_pb2.Product, field: str) -> None:
    """Raises `SightlineError` for attributes that are too many or too long."""
    if len(sent.attributes) > MAX_ATTRIBUTES:
        raise invalid(field, f"{len(sent.attributes)} attributes, at most {MAX_ATTRIBUTES} are allowed")
    for name, text in sent.attributes.items():
        if not name:
            raise invalid(field, "an attribute needs a name")
        check_bytes(f"{field} (a name)", name, MAX_NAME_BYTES)
        check_bytes(f"{field} (a value)", text, MAX_ATTRIBUTE_BYTES)


def check_bytes(field: str, text: str, most: int) -> None:
    """Raises `SightlineError` for a text of more than `most` bytes."""
    size = len(text.encode())
    if size > most:
        raise invalid(field, f"{size} bytes, at most {most} are allowed")


def check_link(field: str, link: str) -> None:
    """Raises `SightlineError` for a link that is too long or holds a user name or a password."""
    check_bytes(field, link, MAX_LINK_BYTES)
    start, end = user_info(link)
    if start < end:
        raise invalid(field, "it holds a user name or a password, which callers would read; send it without")


def to_update(sent: catalog_service_pb2.ProductUpdate, product_id: str, field: str) -> ProductUpdate:
    """An update of the fields in its mask. Raises `SightlineError`."""
    if sent.product.id not in ("", product_id):
        raise invalid(f"{field}.product.id", "it is another id than that of the name; an id cannot be changed")
    product, price = checked_product(sent.product, product_id, f"{field}.product")
    if product.image_link:
        raise invalid(f"{field}.product.image_link", "images are changed by UpsertProducts")
    paths = list(sent.update_mask.paths) or [name for name in MASK if getattr(product, name)]
    paths = list(MASK) if paths == ["*"] else paths
    if not paths:
        raise invalid(f"{field}.update_mask", "the update changes nothing: name fields, or give them values")
    if any(path not in MASK for path in paths):
        raise invalid(f"{field}.update_mask", f"expected some of {', '.join(MASK)}; for images, upsert the product")
    if "price" in paths and price is None:
        raise invalid(f"{field}.product.price", "a price can be changed, and not removed; upsert the product instead")
    texts = {name: str(getattr(product, name)) for name in UPDATABLE_TEXTS if name in paths}
    return ProductUpdate(
        product_id,
        texts,
        price if "price" in paths else None,
        product.attributes if "attributes" in paths else None,
    )


def to_stored(catalog: str, stored: StoredProduct) -> catalog_service_pb2.CatalogProduct:
    """A stored product as the contract has it."""
    return catalog_service_pb2.CatalogProduct(
        name=product_name(catalog, stored.product.id),
        product=to_product(stored.product),
        images=[catalog_service_pb2.ProductImage(link=link) for link in stored.images],
        etag=stored.etag,
    )
