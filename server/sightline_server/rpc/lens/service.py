"""`sightline.v1.LensService`: convert, ask the pipeline, convert.

Rule: nothing is decided here. `Edge` says in which order a call is taken, the pipeline what happens.
"""

from collections.abc import Callable, Mapping
from contextlib import aclosing

from sightline.v1 import lens_service_pb2
from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.request import SearchQuery
from sightline_server.pipeline import Pipeline
from sightline_server.rpc.call import Call
from sightline_server.rpc.edge import Edge, Handler
from sightline_server.rpc.fields import USUAL_FIELDS, FieldBounds
from sightline_server.rpc.lens.convert import is_result, to_grant, to_query, to_target
from sightline_server.rpc.lens.event_size import sendable
from sightline_server.rpc.method import Method
from sightline_server.settings import LimitSettings

SERVICE = lens_service_pb2.DESCRIPTOR.services_by_name["LensService"]

SearchRequest = lens_service_pb2.SearchRequest
SearchResponse = lens_service_pb2.SearchResponse


class LensService:
    """`pipeline` is set once the engine and the index are there; admission lets no call in before.

    `on_too_large` is called for each object whose products do not fit into an event.
    """

    name = str(SERVICE.full_name)

    def __init__(
        self,
        *,
        edge: Edge,
        limits: LimitSettings,
        catalogs: CatalogNames,
        one_per_group: bool = False,
        on_too_large: Callable[[], None] = lambda: None,
    ) -> None:
        self._edge = edge
        self._limits = limits
        self._catalogs = catalogs
        self._one_per_group = one_per_group
        self._on_too_large = on_too_large
        self.pipeline: Pipeline | None = None

    def handlers(self) -> Mapping[str, Handler]:
        """See `Service`."""
        search = search_method(self._limits)
        return {search.name: self._edge.handler(search, self._to_query, self._search, photo_of)}

    async def _search(self, query: SearchQuery, catalog: CatalogPass, call: Call[SearchResponse]) -> None:
        """Streams the events of one search."""
        assert self.pipeline is not None, "admission lets no call in before the pipeline is set"
        async with aclosing(self.pipeline.run(query, catalog)) as events:
            async for found in events:
                event, response = sendable(found)
                if event is not found:
                    self._on_too_large()
                await call.send(response)

    def _to_query(self, request: SearchRequest, catalog: CatalogPass, call: Call[SearchResponse]) -> SearchQuery:
        return to_query(
            request,
            catalog,
            request_id=call.request_id,
            deadline=call.deadline,
            catalogs=self._catalogs,
            limits=self._limits,
            one_per_group=self._one_per_group,
        )


def photo_of(query: SearchQuery) -> bytes:
    """The bytes that the grant of a search is for."""
    return query.photo


def search_method(limits: LimitSettings) -> Method[SearchRequest, SearchResponse]:
    """`Search`, whose requests may have a region each in addition to the usual fields, and a photo of any size."""
    return Method(
        descriptor=SERVICE.methods_by_name["Search"],
        request=SearchRequest,
        response=SearchResponse,
        target=to_target,
        bounds=FieldBounds(limits.max_regions + USUAL_FIELDS, large_field=SearchRequest.PHOTO_FIELD_NUMBER),
        is_result=is_result,
        grant=to_grant,
    )
