"""Column names: the many spellings of shops to the names of the Merchant Center feed.

Rule: `imageLink`, `Image Link`, `image-link`, `IMAGE_LINK` and `g:image_link` are one column. A column known under
another name replaces a Merchant Center column only where the feed has no such column.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

# `imageURLs` and `GTINs` end with a plural's `s`, before which no word begins.
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z](?!s(?![a-z]))[a-z])")
SEPARATORS = re.compile(r"[\s_\-]+")
META_INDEXED = re.compile(r"(image|video|style)\[(\d+)\](?:\.(url|link))?")
NUMBERED_IMAGE = re.compile(
    r"(?:additional_|other_|extra_)?(?:image|picture|photo|img)s?(?:_link|_url|_src)?_?(\d{1,2})(?:_url|_link|_src)?"
)
PREFIXES = ("g:", "c:", "fb:", "og:", "product:")

REQUIRED = ("id", "image_link")
LIST_COLUMNS = frozenset({"additional_image_link"})

ALIASES: Mapping[str, tuple[str, ...]] = {
    "id": ("offer_id", "product_id", "item_id", "retailer_id", "unique_id", "item_sku", "sku_id", "sku"),
    "title": ("name", "product_name", "product_title", "item_name", "productname"),
    "image_link": (
        *("image_url", "image_src", "image", "main_image", "main_image_link", "main_image_url", "picture"),
        *("picture_url", "product_image", "product_image_url", "img_url", "base_image", "photo", "photo_url", "imgurl"),
        *("cover_media_url", "cover_url", "images", "image_links", "image_urls"),
    ),
    "additional_image_link": (
        *("additional_image_links", "additional_image_url", "additional_image_urls", "additional_images"),
        *("additional_image", "extra_images", "images", "image_links", "image_urls", "imgurl_alternative"),
    ),
    "link": ("url", "product_url", "product_link", "permalink"),
    "brand": ("brand_name", "manufacturer", "vendor"),
    "product_type": ("product_types", "category", "category_name", "categories", "categorytext"),
    "price": ("price_vat",),
    "availability": ("stock_status", "availability_status"),
    "gtin": ("gtins", "ean", "upc", "barcode"),
    "item_group_id": ("group_id", "parent_id", "parent_sku", "itemgroup_id"),
}
"""Other names of a column, the better ones first."""


def column_name(raw: str) -> str:
    """A column's name as the Merchant Center writes it."""
    name = raw.strip().strip("\ufeff\u200b").strip()
    lower = name.lower()
    for prefix in PREFIXES:
        if lower.startswith(prefix):
            name = name[len(prefix) :]
            break
    if not name.isupper():
        name = CAMEL.sub("_", name)
    return SEPARATORS.sub("_", name.strip().lower()).strip("_")


def canonical_names(names: Iterable[str]) -> list[str]:
    """Each of `names` (as `column_name` gives them) by its Merchant Center name, aliases resolved.

    `offer_id` is the id even where there is an `id` as well: in answers of Google's APIs that one is made up by Google.
    """
    listed = list(names)
    found = set(listed)
    renamed = {}
    if "offer_id" in found and "id" in found:
        renamed = {"offer_id": "id", "id": "google_id"}
    present = {renamed.get(name, name) for name in found} | {meaning for name in found if (meaning := indexed(name))}
    for meaning, spellings in ALIASES.items():
        if meaning in present:
            continue
        alias = next((spelling for spelling in spellings if spelling in found and spelling not in renamed), None)
        if alias is not None:
            renamed[alias] = meaning
            present.add(meaning)
    return [renamed.get(name) or indexed(name) or numbered(name, present) for name in listed]


def indexed(name: str) -> str:
    """The column of Meta's `image[0].url` and its siblings; empty for any other name."""
    match = META_INDEXED.fullmatch(name)
    if match is None or match[1] != "image":
        return ""
    return "image_link" if match[2] == "0" else "additional_image_link"


def numbered(name: str, present: set[str]) -> str:
    """`additional_image_link` for `image_2`, `additional_image_link_1` and so on; any other name as it is.

    Where the feed has no other main image, `image_1` (or `image_0`) is that.
    """
    match = NUMBERED_IMAGE.fullmatch(name)
    if match is None:
        return name
    if "image_link" not in present and not name.startswith(("additional", "other", "extra")) and int(match[1]) <= 1:
        present.add("image_link")
        return "image_link"
    return "additional_image_link"


def gathered(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """Named values as one mapping: of a name that occurs twice the first value that is not empty, or all in a list."""
    values: dict[str, object] = {}
    lists: dict[str, list[object]] = {}
    for name, value in pairs:
        if not name:
            continue
        if name not in values:
            values[name] = value
        elif name in LIST_COLUMNS:
            if name not in lists:
                values[name] = lists[name] = as_list(values[name])
            # In place: a row may have as many columns as fit into it.
            lists[name] += as_list(value)
        elif values[name] in ("", None):
            values[name] = value
    return values


def as_list(value: object) -> list[object]:
    """`value` as a list; one that is absent is empty."""
    if isinstance(value, list | tuple):
        return list(value)
    return [] if value in ("", None) else [value]


def doubled(names: Iterable[str]) -> list[str]:
    """The names that occur more than once and whose values cannot be joined, sorted."""
    counts = Counter(name for name in names if name and name not in LIST_COLUMNS)
    return sorted(name for name, count in counts.items() if count > 1)
