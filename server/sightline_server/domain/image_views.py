"""The views of a catalog image: how many vectors stand for one image.

    one view    the whole image
    two views   the whole image, and where it has a plain margin, the image without it; the nearer vector counts
Rule: views belong to the rows of a catalog and not to its embedder, which makes a vector of any pixels. Vectors of one
image follow each other and have the same link, so whatever reads a catalog sees a product with a further image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

ONE_VIEW = 1
TWO_VIEWS = 2
VIEWS_FACT = "sightline.views"
"""The name of the number of views among the facts of a catalog; without it there is one."""
VIEWS_ENDING = "+views"


def kept_views(counts: Sequence[int], most: int) -> list[int]:
    """The position of the image of each vector to store, for images that have `counts` vectors each.

    Each image keeps its first vector; further ones are kept in the order of the images, up to `most` vectors together.
    """
    room = max(most - len(counts), 0)
    places: list[int] = []
    for place, count in enumerate(counts):
        more = min(count - 1, room)
        room -= more
        places += [place] * (1 + more)
    return places


def distinct_links(links: Sequence[str], views: int) -> tuple[str, ...]:
    """The links of a stored product as its writer gave them: where images have two `views`, each once."""
    return tuple(links) if views == ONE_VIEW else tuple(dict.fromkeys(links))


def vectors_name(embedder: str, views: int) -> str:
    """The name of the vectors of a catalog in an export: its `embedder`, and the views where there are two."""
    return embedder if views == ONE_VIEW else f"{embedder}{VIEWS_ENDING}{views}"


def embedder_named(vectors: str, views: int) -> str:
    """The embedder in the name `vectors`, as it is where it does not name the `views` of the catalog that it is for."""
    return vectors if views == ONE_VIEW else vectors.removesuffix(f"{VIEWS_ENDING}{views}")


def item_word(facts: Mapping[str, Any]) -> str:
    """The word for what is counted of a generation with the stored `facts`: an image, or a vector of its views."""
    return "vector" if VIEWS_FACT in facts else "image"
