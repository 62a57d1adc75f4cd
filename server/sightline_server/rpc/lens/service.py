"""`sightline.v1.LensService`: convert, ask the pipeline, convert.

Rule: nothing is decided here. `Edge` says in which order a call is taken, the pipeline what happens.
"""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from sightline.v1 import lens_service_pb2
from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.access.grants.consent import Sent
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.request import CropsQuery, EmbeddingsQuery, Query, SearchQuery
from sightline_server.pipeline import Pipeline
from sightline_server.rpc.call import Call
from sightline_server.rpc.edge import Edge, Handler
from sightline_server.rpc.fields import USUAL_FIELDS, FieldBounds
from sightline_server.rpc.lens.convert import is_result, to_grant, to_query, to_target
from sightline_server.rpc.lens.crops import to_crops_query
from sightline_server.rpc.lens.embeddings import to_embeddings_query
from sightline_server.rpc.lens.event_size import sendable
from sightline_server.rpc.lens.info import GET_SERVER_INFO, InfoQuery, ServerFacts, in_order, to_info, to_info_query
from sightline_server.rpc.lens.text import to_text
from sightline_server.rpc.method import Method
from sightline_server.search.text_encoder import TextEncoder
from sightline_server.settings import LimitSettings

SERVICE = lens_service_pb2.DESCRIPTOR.services_by_name["LensService"]

SearchRequest = lens_service_pb2.SearchRequest
SearchEmbeddingsRequest = lens_service_pb2.SearchEmbeddingsRequest
SearchResponse = lens_service_pb2.SearchResponse
GetServerInfoRequest = lens_service_pb2.GetServerInfoRequest
GetServerInfoResponse = lens_service_pb2.GetServerInfoResponse


LARGE_FIELDS = (SearchRequest.PHOTO_FIELD_NUMBER, SearchRequest.CROPS_FIELD_NUMBER)
ImageQuery = SearchQuery | CropsQuery


class LensService:
    """`pipeline` is set once the engine and the index are there; admission lets no call in before.

    `on_too_large` is called for each object whose products do not fit into an event.
    """

    name = str(SERVICE.full_name)

    def __init__(
        self,
        *,
        edge: Edge,
        facts: ServerFacts,
        catalogs: CatalogNames,
        one_per_group: bool = False,
        on_too_large: Callable[[], None] = lambda: None,
    ) -> None:
        self._edge = edge
        self._facts = facts
        self._limits = facts.limits
        self._catalogs = catalogs
        self._one_per_group = one_per_group
        self._on_too_large = on_too_large
        self.pipeline: Pipeline | None = None

    def handlers(self) -> Mapping[str, Handler]:
        """See `Service`."""
        search, embeddings = search_method(self._limits), search_embeddings_method(self._limits)
        return {
            search.name: self._edge.handler(search, self._to_query, self._search, photo_of),
            embeddings.name: self._edge.handler(embeddings, self._to_embeddings, self._search, vectors_of),
            GET_SERVER_INFO.name: self._edge.handler(GET_SERVER_INFO, self._to_info, self._info),
        }

    async def _search(self, query: Query, catalog: CatalogPass, call: Call[SearchResponse]) -> None:
        """Streams the events of one search."""
        async with aclosing(self._running().run(query, catalog)) as events:
            async for found in events:
                event, response = sendable(found)
                if event is not found:
                    self._on_too_large()
                await call.send(response)

    def _to_query(self, request: SearchRequest, catalog: CatalogPass, call: Call[SearchResponse]) -> ImageQuery:
        query = (to_crops_query if request.crops else to_query)(
            request,
            catalog,
            request_id=call.request_id,
            deadline=call.deadline,
            catalogs=self._catalogs,
            limits=self._limits,
            one_per_group=self._one_per_group,
        )
        text = to_text(request, partial(self._text_encoder, catalog))
        return query if text is None else replace(query, text=text)

    def _text_encoder(self, catalog: CatalogPass) -> TextEncoder | None:
        return self._running().text_encoder_for(catalog)

    def _to_embeddings(
        self, request: SearchEmbeddingsRequest, catalog: CatalogPass, call: Call[SearchResponse]
    ) -> EmbeddingsQuery:
        self._catalogs.check(catalog.catalog)
        query = to_embeddings_query(
            request,
            catalog,
            self._running().embedder_for(catalog),
            request_id=call.request_id,
            deadline=call.deadline,
            limits=self._limits,
            one_per_group=self._one_per_group,
        )
        text = to_text(request, partial(self._text_encoder, catalog))
        return query if text is None else replace(query, text=text)

    def _to_info(
        self, request: GetServerInfoRequest, catalog: CatalogPass, call: Call[GetServerInfoResponse]
    ) -> InfoQuery:
        return to_info_query(request, catalog, self._catalogs)

    async def _info(self, query: InfoQuery, catalog: CatalogPass, call: Call[GetServerInfoResponse]) -> None:
        """Sends the description of the catalog of the pass, or of those that it shows."""
        pipeline, default = self._running(), self._catalogs.default
        if query.catalog is not None:
            embedders = {query.catalog: pipeline.embedder_for(catalog)}
        else:
            known = pipeline.embedders_for(catalog)
            embedders = {name: known[name] for name in in_order(known, default)}
        weights = pipeline.features.weights
        texts = {identity: each.spec for identity, each in pipeline.text_encoders.items()}
        await call.send(to_info(self._facts, pipeline.detector, embedders, default, weights, texts))

    def _running(self) -> Pipeline:
        assert self.pipeline is not None, "admission lets no call in before the pipeline is set"
        return self.pipeline


def photo_of(query: ImageQuery) -> Sent:
    """The photo or the crops that the grant of a search is for."""
    return query.photo if isinstance(query, SearchQuery) else query.crops


def vectors_of(query: EmbeddingsQuery) -> tuple[bytes, ...]:
    """The vectors that the grant of a search is for."""
    return query.vectors


def search_method(limits: LimitSettings) -> Method[SearchRequest, SearchResponse]:
    """`Search`, whose requests may have a region or a crop for each object, and a photo or crops of any size."""
    return Method(
        descriptor=SERVICE.methods_by_name["Search"],
        request=SearchRequest,
        response=SearchResponse,
        target=to_target,
        bounds=FieldBounds(limits.max_regions + USUAL_FIELDS, large_fields=LARGE_FIELDS),
        is_result=is_result,
        grant=to_grant,
    )


def search_embeddings_method(limits: LimitSettings) -> Method[SearchEmbeddingsRequest, SearchResponse]:
    """`SearchEmbeddings`, whose requests may have a vector for each object in addition to the usual fields."""
    return Method(
        descriptor=SERVICE.methods_by_name["SearchEmbeddings"],
        request=SearchEmbeddingsRequest,
        response=SearchResponse,
        target=to_target,
        bounds=FieldBounds(limits.max_regions + USUAL_FIELDS),
        is_result=is_result,
        grant=to_grant,
    )
