"""`GetServerInfo`: what an app needs to send less than a photo, and what the server does with what it gets.

Rule: nothing about a catalog that the caller may not search, not even that it exists.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sightline.v1 import lens_service_pb2 as pb
from sightline_server.access.catalog_pass import CatalogPass
from sightline_server.access.grants.consent import ConsentMode
from sightline_server.domain.catalogs import CatalogNames
from sightline_server.domain.models import DetectorSpec, EmbedderSpec, TextEncoderSpec
from sightline_server.domain.request import DEFAULT_TEXT_WEIGHT, MAX_TEXT_BYTES
from sightline_server.domain.weights import Weights
from sightline_server.rpc.lens.convert import LANES, check_lane
from sightline_server.rpc.method import Method, Target
from sightline_server.settings import DetectionSettings, LimitSettings
from sightline_server.stages.detect import finds_people, vocabulary

CONSENT = {
    ConsentMode.OFF: pb.CONSENT_MODE_OFF,
    ConsentMode.OPTIONAL: pb.CONSENT_MODE_OPTIONAL,
    ConsentMode.REQUIRED: pb.CONSENT_MODE_REQUIRED,
}


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The facts about a server that do not change while it runs; `consent_of` gives the consent of a catalog."""

    version: str
    limits: LimitSettings
    detection: DetectionSettings
    photo_formats: tuple[str, ...]
    consent_of: Callable[[str], ConsentMode]


@dataclass(frozen=True, slots=True)
class InfoQuery:
    """A checked request: the catalog that it names, or None for all that its caller may search."""

    catalog: str | None


def info_target(request: pb.GetServerInfoRequest) -> Target:
    """The catalog that a request names, or the whole server."""
    return Target(request.catalog, LANES.get(request.lane, LANES[pb.LANE_UNSPECIFIED]), not request.catalog)


def never(response: pb.GetServerInfoResponse) -> bool:
    """No answer is a result of a search, by which the limit of calls would be adapted."""
    return False


GET_SERVER_INFO = Method(
    pb.DESCRIPTOR.services_by_name["LensService"].methods_by_name["GetServerInfo"],
    pb.GetServerInfoRequest,
    pb.GetServerInfoResponse,
    info_target,
    is_result=never,
)
"""It takes no grant, because it is about no photo."""


def to_info_query(request: pb.GetServerInfoRequest, catalog: CatalogPass, catalogs: CatalogNames) -> InfoQuery:
    """The request as a checked value. Raises `SightlineError` of kind UNKNOWN_CATALOG or INVALID_REQUEST."""
    if not request.catalog:
        check_lane(request)
        return InfoQuery(None)
    catalogs.check(catalog.catalog)
    check_lane(request)
    return InfoQuery(catalog.catalog)


def to_info(
    facts: ServerFacts,
    detector: DetectorSpec,
    embedders: Mapping[str, EmbedderSpec],
    default: str,
    weights: Mapping[str, Weights],
    text_encoders: Mapping[str, TextEncoderSpec],
) -> pb.GetServerInfoResponse:
    """The answer about the catalogs of `embedders`, which has the embedder of each, in its order.

    `weights` are those of each embedder, by its identity, and so are `text_encoders`.
    """
    return pb.GetServerInfoResponse(
        server_version=facts.version,
        catalogs=[
            pb.ServedCatalog(
                name=name,
                is_default=name == default,
                embedder=to_embedder(embedder, weights[embedder.identity]),
                consent=CONSENT[facts.consent_of(name)],
                text_encoder=to_text_encoder(text_encoders.get(embedder.identity)),
            )
            for name, embedder in embedders.items()
        ],
        detector=to_detector(detector),
        people=to_people(detector, facts.detection),
        limits=to_limits(facts.limits, facts.photo_formats),
    )


def in_order(names: Iterable[str], default: str) -> list[str]:
    """The names with the default one first."""
    return sorted(names, key=lambda name: name != default)


def to_embedder(spec: EmbedderSpec, weights: Weights) -> pb.ServedEmbedder:
    """An embedder with the weights of its catalogs."""
    return pb.ServedEmbedder(
        id=spec.identity,
        sha256=spec.sha256,
        dimension=spec.dimension,
        input_width=spec.width,
        input_height=spec.height,
        preprocess_json=json.dumps(spec.preprocess.facts()),
        ranking_weights=weights.identity,
    )


def to_text_encoder(spec: TextEncoderSpec | None) -> pb.ServedTextEncoder | None:
    """A text encoder; None where an embedder has none."""
    if spec is None:
        return None
    return pb.ServedTextEncoder(
        id=spec.identity, sha256=spec.sha256, max_tokens=spec.length, default_weight=DEFAULT_TEXT_WEIGHT
    )


def to_detector(spec: DetectorSpec) -> pb.ServedDetector:
    """The detector."""
    return pb.ServedDetector(
        id=spec.identity,
        sha256=spec.sha256,
        labels=spec.labels,
        input_width=spec.width,
        input_height=spec.height,
        preprocess_json=json.dumps(spec.preprocess.facts()),
    )


def to_people(detector: DetectorSpec, settings: DetectionSettings) -> pb.PeopleRules:
    """The rules about people in photos."""
    found = finds_people(detector, settings)
    return pb.PeopleRules(
        found=found,
        redacted=found and settings.redact_people,
        labels=sorted(vocabulary(detector, settings).people & set(detector.labels)),
        min_score=settings.person_min_score,
    )


def to_limits(limits: LimitSettings, photo_formats: Iterable[str]) -> pb.SearchLimits:
    """The bounds of a request."""
    return pb.SearchLimits(
        max_photo_bytes=limits.max_photo_bytes,
        max_photo_pixels=limits.max_photo_pixels,
        photo_formats=photo_formats,
        max_regions=limits.max_regions,
        max_objects=limits.max_objects,
        default_objects=limits.default_objects,
        max_products=limits.max_products,
        default_products=limits.default_products,
        max_text_bytes=MAX_TEXT_BYTES,
    )
