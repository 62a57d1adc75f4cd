"""Text of products and of filters -> the form in which the two are compared. Pure.

Rule: one function for both sides. An empty form equals nothing.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate

LEVELS = "\x1f"
"""Separates the levels of a category, and an attribute's name from its value. `str.split` takes it for a blank, so no
text in its compared form contains it."""
MAX_CHARS = 256
"""Longer values of attributes, such as descriptions, are not for filtering, and are left out."""
PARTED = frozenset({"color", "material"})
"""Merchant Center writes several values of these as `Red/Blue`."""
WORD_BREAKS = re.compile(r"[\s_\-]+")


def compared(text: str) -> str:
    """The text in NFKC, without letter case, with single blanks."""
    whole = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(whole.casefold().split())


@lru_cache(maxsize=4096)
def compared_name(name: str) -> str:
    """A name or keyword: `In stock`, `in-stock` and `in_stock` are one."""
    return WORD_BREAKS.sub("_", compared(name)).strip("_")


def category_path(category: str) -> str:
    """The levels of a category such as `Furniture > Chairs`, each in its compared form."""
    levels = (compared(level) for level in category.split(">"))
    return LEVELS.join(level for level in levels if level)


def attribute_text(name: str, value: str) -> str:
    """An attribute with one of its values; empty where one of both is."""
    return with_value(compared_name(name), value)


def with_value(key: str, value: str) -> str:
    """As `attribute_text`, of a name that is in its compared form."""
    text = compared(value)
    return key + LEVELS + text if key and text else ""


def attribute_texts(name: str, stated: str) -> Iterator[str]:
    """An attribute with each of the values that a product's text `stated` has."""
    key = compared_name(name)
    for value in attribute_values(key, stated):
        if len(value) <= MAX_CHARS and (text := with_value(key, value)):
            yield text


def attribute_values(key: str, stated: str) -> Iterable[str]:
    """The values in `stated`: the text itself, and its parts where the attribute may have several."""
    if key in PARTED and "/" in stated and len(stated) <= MAX_CHARS:
        return (stated, *stated.split("/"))
    if key == "product_detail":
        return (stated, *details(stated))
    return (stated,)


def details(stated: str) -> Iterator[str]:
    """Each detail of Merchant Center's `section:name:value, section:name:value`, and each as `name:value`.

    A comma belongs to a value where no colon follows it. From JSON the details come as objects.
    """
    if stated.startswith("{"):
        yield from json_details(stated)
        return
    parts = stated.split(",")
    starts = accumulate(":" in part for part in parts)
    joined: dict[int, str] = {}
    for part, number in zip(parts, starts, strict=True):
        joined[number] = f"{joined[number]},{part}" if number in joined else part
    for detail in joined.values():
        yield detail
        if detail.count(":") > 1:
            yield detail.split(":", 1)[1]


def json_details(stated: str) -> Iterator[str]:
    """The details of objects such as `{"attributeName": "Weight", "attributeValue": "2 kg"}`."""
    try:
        objects = json.loads(f"[{stated}]")
    except ValueError:
        return
    for each in objects:
        if isinstance(each, dict):
            named = {compared_name(str(name)).replace("_", ""): str(value) for name, value in each.items()}
            if "attributename" in named and "attributevalue" in named:
                yield f"{named['attributename']}:{named['attributevalue']}"
