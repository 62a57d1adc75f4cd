"""Ranked neighbours -> ranked products: the one place where the products of an answer are read.

Rule: only what is shown is read, once, after the ranking.
"""

from collections.abc import Sequence

from sightline_server.domain.items import RankedNeighbour, RankedProduct
from sightline_server.ports import Snapshot


def show(snapshot: Snapshot, ranked: Sequence[RankedNeighbour]) -> tuple[RankedProduct, ...]:
    """The products of `ranked`, which `snapshot` found, in order."""
    if not ranked:
        return ()
    products = snapshot.products([each.neighbour.row for each in ranked])
    links = snapshot.image_links([each.neighbour.image for each in ranked])
    return tuple(
        RankedProduct(
            product=product,
            similarity=each.neighbour.similarity,
            score=each.score,
            rank=each.rank,
            matched_image=link,
            level=each.level,
            reasons=each.reasons,
        )
        for each, product, link in zip(ranked, products, links, strict=True)
    )
