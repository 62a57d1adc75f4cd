"""Typed parameters to the request messages of LensService.

Rule: 0, empty and None stand for the default of the server. Values are checked in `sightline_client.request`.
"""

from collections.abc import Sequence
from decimal import Decimal

from sightline.v1 import lens_service_pb2
from sightline_client import events
from sightline_client.convert.geometry import region_to_pb
from sightline_client.filters import Filter

LANES = {
    events.Lane.INTERACTIVE: lens_service_pb2.LANE_INTERACTIVE,
    events.Lane.BATCH: lens_service_pb2.LANE_BATCH,
}


def request_to_pb(
    photo: bytes = b"",
    *,
    crops: Sequence[bytes] = (),
    regions: Sequence[events.Region] = (),
    catalog: str = "",
    max_objects: int = 0,
    max_products: int = 0,
    min_similarity: float = 0.0,
    lane: events.Lane = events.Lane.INTERACTIVE,
    one_per_group: bool | None = None,
    filter: Filter | None = None,
    grant: str | None = None,
    text: str | None = None,
    text_weight: float | None = None,
    look_closer: bool = False,
) -> lens_service_pb2.SearchRequest:
    """The request message, of a photo or of crops.

    Its parameters are those of the contract; 0, empty and None mean the server's default.
    """
    return lens_service_pb2.SearchRequest(
        photo=photo,
        crops=crops,
        regions=[region_to_pb(region) for region in regions],
        catalog=catalog,
        max_objects=max_objects,
        max_products=max_products,
        min_similarity=min_similarity,
        lane=LANES[lane],
        one_per_group=one_per_group,
        filter=None if filter is None else _filter_to_pb(filter),
        grant=grant or "",
        text=text,
        text_weight=text_weight,
        look_closer=look_closer,
    )


def embeddings_request_to_pb(
    embedder: str,
    vectors: Sequence[bytes],
    *,
    catalog: str = "",
    max_products: int = 0,
    min_similarity: float = 0.0,
    lane: events.Lane = events.Lane.INTERACTIVE,
    one_per_group: bool | None = None,
    filter: Filter | None = None,
    grant: str | None = None,
    text: str | None = None,
    text_weight: float | None = None,
) -> lens_service_pb2.SearchEmbeddingsRequest:
    """The request message of a search of embeddings; 0, empty and None mean the server's default."""
    return lens_service_pb2.SearchEmbeddingsRequest(
        embedder=embedder,
        vectors=vectors,
        catalog=catalog,
        max_products=max_products,
        min_similarity=min_similarity,
        lane=LANES[lane],
        one_per_group=one_per_group,
        filter=None if filter is None else _filter_to_pb(filter),
        grant=grant or "",
        text=text,
        text_weight=text_weight,
    )


def info_request_to_pb(catalog: str, lane: events.Lane) -> lens_service_pb2.GetServerInfoRequest:
    """The request message for what a server says about itself."""
    return lens_service_pb2.GetServerInfoRequest(catalog=catalog, lane=LANES[lane])


def _filter_to_pb(wanted: Filter) -> lens_service_pb2.Filter:
    prices = [
        lens_service_pb2.PriceRange(currency=each.currency, minimum=_bound(each.minimum), maximum=_bound(each.maximum))
        for each in wanted.prices
    ]
    return lens_service_pb2.Filter(
        brands=wanted.brands,
        categories=wanted.categories,
        price=prices[0] if prices else None,
        prices=prices[1:],
        availabilities=wanted.availabilities,
        attributes=[
            lens_service_pb2.AttributeCondition(name=name, values=each) for name, each in wanted.attributes.items()
        ],
        product_ids=wanted.product_ids,
        item_group_ids=wanted.item_group_ids,
        excluded_product_ids=wanted.excluded_product_ids,
        excluded_item_group_ids=wanted.excluded_item_group_ids,
    )


def _bound(bound: float | Decimal | None) -> float | None:
    return None if bound is None else float(bound)
