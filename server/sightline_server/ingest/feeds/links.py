"""Image links of one cell: where one link ends and the next begins.

Rule: a comma separates two links only where the next one visibly begins. In a cell with http links that is in front of
`http://`, `https://` or `//`, so that commas within a link stay. File names are separated by commas, and a part without
an image suffix belongs to the name that follows it (`chair, red.jpg`).
"""

import re

ABSOLUTE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
# Begins at the first separator of a run only, so that a cell of a million commas is read once.
BEFORE_ABSOLUTE = re.compile(r"(?<![\s,;|])[\s,;|]++(?=(?:https?:)?//)", re.IGNORECASE)
IMAGE_SUFFIX = r"\.(?:jpe?g|jfif|png|webp|gif|bmp|tiff?|avif|heic|heif)"
IMAGE_NAME = re.compile(rf"\S.*{IMAGE_SUFFIX}\s*$", re.IGNORECASE)
LINK = re.compile(rf"\s*(?:(?:https?:)?//\S|\S.*{IMAGE_SUFFIX}(?:[?#].*)?\s*$)", re.IGNORECASE | re.DOTALL)


def looks_like_image_link(text: str) -> bool:
    """Returns whether `text` is a web link or a file name with the suffix of an image."""
    return LINK.match(text.strip('" \t')) is not None


def split_links(text: str) -> list[str]:
    """The links of one cell, in order."""
    if ABSOLUTE.search(text):
        parts = BEFORE_ABSOLUTE.split(text)
        return [link for part in parts if (link := part.strip().rstrip(",;|").strip())]
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not any(IMAGE_NAME.match(part) for part in parts):
        return parts
    return joined_names(text.split(","))


def joined_names(parts: list[str]) -> list[str]:
    """File names, each ending at the first part with an image suffix."""
    names: list[str] = []
    begun: list[str] = []
    for part in parts:
        if begun or part.strip():
            begun.append(part)
        if begun and IMAGE_NAME.match(part.strip()):
            names.append(",".join(begun).strip())
            begun = []
    rest = ",".join(begun).strip(" ,")
    return [*names, rest] if rest else names
