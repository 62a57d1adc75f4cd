"""`SearchRequest` with crops in place of a photo -> a checked query.

Rule: crops are bounded together as one photo is, and their number is known before they are parsed, because they are
fields of the request itself.
"""

from sightline.v1 import lens_service_pb2
from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.request import NO_FILTER, CropsQuery
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.lens.convert import bounded, check_lane, to_similarity
from sightline_server.rpc.lens.filters import to_filter
from sightline_server.rpc.refusals import invalid
from sightline_server.settings import LimitSettings


def to_crops_query(
    request: lens_service_pb2.SearchRequest,
    catalog: CatalogPass,
    *,
    request_id: str,
    deadline: float,
    catalogs: CatalogNames,
    limits: LimitSettings,
    one_per_group: bool = False,
) -> CropsQuery:
    """The request as a checked query in the lane of the pass. Raises `SightlineError` that names the field at fault."""
    catalogs.check(catalog.catalog)
    check_lane(request)
    check_crops(request, limits)
    bounded("max_objects", request.max_objects, limits.default_objects, limits.max_objects)
    if 0 < request.max_objects < len(request.crops):
        raise invalid("max_objects", "fewer objects than crops")
    return CropsQuery(
        request_id=request_id,
        crops=tuple(request.crops),
        deadline=deadline,
        max_products=bounded("max_products", request.max_products, limits.default_products, limits.max_products),
        min_similarity=to_similarity(request.min_similarity),
        lane=catalog.lane,
        one_per_group=request.one_per_group if request.HasField("one_per_group") else one_per_group,
        wanted=to_filter(request.filter) if request.HasField("filter") else NO_FILTER,
    )


def check_crops(request: lens_service_pb2.SearchRequest, limits: LimitSettings) -> None:
    """Checks what is searched: crops and nothing else. Raises `SightlineError`."""
    if request.photo:
        raise invalid("crops", "a request has a photo or crops, not both")
    if request.regions:
        raise invalid("regions", "crops have no regions: each of them is one object")
    if request.look_closer:
        raise invalid("look_closer", "crops have no second round: each of them is one object")
    if len(request.crops) > limits.max_regions:
        raise invalid("crops", f"{len(request.crops)} crops, the limit is {limits.max_regions}")
    size = sum(map(len, request.crops))
    if size > limits.max_photo_bytes:
        raise SightlineError(
            ErrorKind.LIMIT_EXCEEDED,
            f"crops: they have {size} bytes together, the limit is {limits.max_photo_bytes}",
            field="crops",
            metadata={"limit": "max_photo_bytes", "value": str(limits.max_photo_bytes)},
        )
