"""Ranked products, both ways, with the reasons for their scores."""

from sightline.v1 import product_pb2
from sightline_client import events

LEVELS = {
    events.MatchLevel.UNKNOWN: product_pb2.MATCH_LEVEL_UNSPECIFIED,
    events.MatchLevel.WEAK: product_pb2.MATCH_LEVEL_WEAK,
    events.MatchLevel.SIMILAR: product_pb2.MATCH_LEVEL_SIMILAR,
    events.MatchLevel.SAME_ITEM: product_pb2.MATCH_LEVEL_SAME_ITEM,
}
REASONS = {
    events.ReasonKind.UNKNOWN: product_pb2.REASON_KIND_UNSPECIFIED,
    events.ReasonKind.VISUAL_SIMILARITY: product_pb2.REASON_KIND_VISUAL_SIMILARITY,
    events.ReasonKind.CATEGORY_MATCH: product_pb2.REASON_KIND_CATEGORY_MATCH,
    events.ReasonKind.UNAVAILABLE: product_pb2.REASON_KIND_UNAVAILABLE,
    events.ReasonKind.CODE: product_pb2.REASON_KIND_CODE,
    events.ReasonKind.LOCAL_FEATURES: product_pb2.REASON_KIND_LOCAL_FEATURES,
    events.ReasonKind.COLOUR: product_pb2.REASON_KIND_COLOUR,
    events.ReasonKind.PRINTED_TEXT: product_pb2.REASON_KIND_PRINTED_TEXT,
}
_LEVEL_OF = {number: level for level, number in LEVELS.items()}
_REASON_OF = {number: kind for kind, number in REASONS.items()}
_PRODUCT_TEXTS = ("id", "title", "brand", "category", "price", "availability", "link", "image_link", "item_group_id")


def ranked_from_pb(ranked: product_pb2.RankedProduct) -> events.RankedProduct:
    """The typed product with its rank; a level or reason that this client does not know is UNKNOWN."""
    return events.RankedProduct(
        product=_product_from_pb(ranked.product),
        similarity=ranked.similarity,
        score=ranked.score,
        rank=ranked.rank,
        matched_image=ranked.matched_image,
        level=_LEVEL_OF.get(ranked.level, events.MatchLevel.UNKNOWN),
        reasons=tuple(
            events.Reason(_REASON_OF.get(reason.kind, events.ReasonKind.UNKNOWN), reason.contribution, reason.text)
            for reason in ranked.reasons
        ),
    )


def ranked_to_pb(ranked: events.RankedProduct) -> product_pb2.RankedProduct:
    """The message of a ranked product."""
    return product_pb2.RankedProduct(
        product=_product_to_pb(ranked.product),
        similarity=ranked.similarity,
        score=ranked.score,
        rank=ranked.rank,
        matched_image=ranked.matched_image,
        level=LEVELS[ranked.level],
        reasons=[
            product_pb2.Reason(kind=REASONS[reason.kind], contribution=reason.contribution, text=reason.text)
            for reason in ranked.reasons
        ],
    )


def _product_from_pb(product: product_pb2.Product) -> events.Product:
    texts = {name: getattr(product, name) for name in _PRODUCT_TEXTS}
    return events.Product(**texts, gtin=product.gtin, attributes=dict(product.attributes))


def _product_to_pb(product: events.Product) -> product_pb2.Product:
    texts = {name: getattr(product, name) for name in _PRODUCT_TEXTS}
    return product_pb2.Product(**texts, gtin=product.gtin, attributes=dict(product.attributes))
