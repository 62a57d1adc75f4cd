"""Ranked neighbours -> ranked products: the only code that reads the products of an answer.

Rule: only what is shown is read, after the ranking, and once for all objects of a photo: a read costs more than its
rows, and objects of one photo often show the same products.
"""

from collections.abc import Sequence

from sightline_server.domain.items import Product, RankedNeighbour, RankedProduct
from sightline_server.ports import Snapshot


def show(snapshot: Snapshot, answers: Sequence[Sequence[RankedNeighbour]]) -> list[tuple[RankedProduct, ...]]:
    """The products of each of `answers`, which `snapshot` found, in order."""
    neighbours = [each.neighbour for answer in answers for each in answer]
    if not neighbours:
        return [()] * len(answers)
    rows = list(dict.fromkeys(neighbour.row for neighbour in neighbours))
    products = dict(zip(rows, snapshot.products(rows), strict=True))
    links = iter(snapshot.image_links([neighbour.image for neighbour in neighbours]))
    return [tuple(shown(each, products[each.neighbour.row], next(links)) for each in answer) for answer in answers]


def shown(ranked: RankedNeighbour, product: Product, link: str) -> RankedProduct:
    """`product` with the rank and reasons of `ranked`; `link` is that of its closest image."""
    return RankedProduct(
        product=product,
        similarity=ranked.neighbour.similarity,
        score=ranked.score,
        rank=ranked.rank,
        matched_image=link,
        level=ranked.level,
        reasons=ranked.reasons,
    )
