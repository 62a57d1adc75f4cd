"""Product exports of shop systems: Shopify, Wix and WooCommerce to the names of the Merchant Center feed.

Rule: an export is recognised by columns that only its system writes. Shopify and Wix write several rows for one
product; consecutive rows of one handle become one product with all their images.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from sightline_server.ingest.feeds.columns import as_list
from sightline_server.ingest.feeds.links import ABSOLUTE
from sightline_server.ingest.feeds.records import Record, guarded

MAX_GROUP_ROWS = 2500
OF_VARIANT = re.compile(r"price$|gtin$|sku$|variant_|option\d+_value|cost|compare_at_price|weight|inventory")
WIX_MEDIA = "https://static.wixstatic.com/media/"


@dataclass(frozen=True, slots=True)
class Exporter:
    """A shop system's product export: `marks` are sets of columns by which it is known, `columns` renames them."""

    name: str
    marks: tuple[frozenset[str], ...]
    columns: Mapping[str, str]
    grouped: bool = False
    adapt: Callable[[dict[str, object]], dict[str, object]] = lambda values: values


def wix_images(values: dict[str, object]) -> dict[str, object]:
    """Wix separates images by semicolons and names those in its own store without an address."""
    links = [link for part in as_list(values.get("image_link")) for link in str(part).split(";") if link.strip()]
    addresses = [link.strip() if ABSOLUTE.match(link.strip()) else WIX_MEDIA + link.strip() for link in links]
    return main_and_more(values, addresses)


def woo_row(values: dict[str, object]) -> dict[str, object]:
    """WooCommerce writes all images in one cell, and 1, 0 or `backorder` as availability."""
    stock = {"1": "in_stock", "0": "out_of_stock", "backorder": "backorder"}
    values = dict(values)
    if not values.get("id"):
        values["id"] = values.pop("woo_id", "")
    values["availability"] = stock.get(str(values.get("availability", "")).strip(), values.get("availability", ""))
    links = [link.strip() for link in str(values.get("image_link") or "").split(", ") if link.strip()]
    return main_and_more(values, links)


def main_and_more(values: dict[str, object], links: list[str]) -> dict[str, object]:
    """`values` with the first of `links` as the main image and the others as additional ones."""
    more: list[object] = [*links[1:], *as_list(values.get("additional_image_link"))]
    return {**values, "image_link": links[0] if links else "", "additional_image_link": more}


SHOPIFY = {
    "handle": "id",
    "url_handle": "id",
    "body_(html)": "description",
    "vendor": "brand",
    "type": "product_type",
    "image_src": "image_link",
    "product_image_url": "image_link",
    "variant_image": "additional_image_link",
    "variant_image_url": "additional_image_link",
    "variant_price": "price",
    "variant_barcode": "gtin",
    "barcode": "gtin",
}
WIX = {
    "handle_id": "id",
    "handle": "id",
    "name": "title",
    "product_image_url": "image_link",
    "media": "image_link",
    "media_url": "image_link",
    "plain_description": "description",
    "collection": "product_type",
    "collections": "product_type",
}
WOO = {
    "id": "woo_id",
    "sku": "id",
    "name": "title",
    "images": "image_link",
    "regular_price": "price",
    "in_stock?": "availability",
    "categories": "product_type",
    "parent": "item_group_id",
    "brands": "brand",
    "gtin,_upc,_ean,_or_isbn": "gtin",
}
EXPORTERS = (
    Exporter(
        "Shopify",
        (frozenset({"handle", "image_src", "title"}), frozenset({"url_handle", "product_image_url", "title"})),
        SHOPIFY,
        grouped=True,
    ),
    Exporter(
        "Wix",
        (
            frozenset({"handle_id", "field_type", "product_image_url"}),
            frozenset({"handle", "field_type", "media"}),
            frozenset({"handle", "field_type", "media_url"}),
        ),
        WIX,
        grouped=True,
        adapt=wix_images,
    ),
    Exporter("WooCommerce", (frozenset({"sku", "images", "in_stock?"}),), WOO, adapt=woo_row),
)

HINTS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"handle", "location"}), "a Shopify inventory export; export the products (Products > Export) instead"),
    (frozenset({"handle", "title"}), "a Shopify export without images; export all columns of the products"),
    (frozenset({"lineitem_name", "lineitem_price"}), "a Shopify orders export; export the products instead"),
    (frozenset({"handle_id", "field_type"}), "a Wix export without images; export the store's products"),
    (frozenset({"handle", "field_type"}), "a Wix export without images; export the store's products"),
    (frozenset({"sku", "in_stock?"}), "a WooCommerce export without the column Images; export all columns"),
    (frozenset({"sku", "attribute_set_code"}), "a Magento export; export base_image and additional_images with it"),
)


def recognised(names: Iterable[str]) -> Exporter | None:
    """The shop system whose product export has the columns `names`."""
    found = set(names)
    return next((system for system in EXPORTERS if any(mark <= found for mark in system.marks)), None)


def hint(names: Iterable[str]) -> str:
    """The kind of export that `names` belong to, and what to export instead; empty where that is not known."""
    found = set(names)
    return next((text for mark, text in HINTS if mark <= found), "")


def merged(records: Iterator[Record]) -> Iterator[Record]:
    """Consecutive records of one id as one record, which has the first one's row number."""
    group: list[Record] = []
    for record in records:
        belongs = bool(group) and not record.fault and record.values.get("id") == group[0].values.get("id")
        if group and not (belongs and len(group) < MAX_GROUP_ROWS):
            yield guarded_product(group)
            group = []
        if record.fault or record.notice or not record.values.get("id"):
            yield record
        else:
            group.append(record)
    if group:
        yield guarded_product(group)


def guarded_product(group: list[Record]) -> Record:
    """One record of several, whatever their values do."""
    return guarded(group[0].row, group[0].line, lambda: joined(group))


def joined(group: list[Record]) -> Record:
    """One record of several: of each column the first value that is not empty, and the images of all.

    What belongs to one variant (price, barcode, options) is taken from the first row that has a price only.
    """
    values: dict[str, object] = {}
    images: list[object] = []
    variant = next((record for record in group if record.values.get("price")), group[0])
    for record in group:
        for name, value in record.values.items():
            if name in ("image_link", "additional_image_link") or (record is not variant and OF_VARIANT.match(name)):
                continue
            if values.get(name) in ("", None):
                values[name] = value
    for column in ("image_link", "additional_image_link"):
        images += [link for record in group for link in as_list(record.values.get(column))]
    warnings = tuple(text for record in group for text in record.warnings)
    values |= {"image_link": images[0] if images else "", "additional_image_link": images[1:]}
    return replace(group[0], values=values, warnings=warnings)
