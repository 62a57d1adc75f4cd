"""The description of a server: what an app needs to send less than a photo, and what happens to what it sends.

Rule: plain frozen values, as the events are; an enum value of a newer server becomes UNKNOWN.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from sightline.v1 import lens_service_pb2 as pb


class ConsentMode(Enum):
    """The consent that a search of a catalog needs."""

    UNKNOWN = "unknown"
    OFF = "off"
    """No grants are taken."""
    OPTIONAL = "optional"
    """A grant that is sent must be valid."""
    REQUIRED = "required"
    """Every search needs a grant."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model: its identity, the SHA-256 of its file, and how its input is made of an image.

    `sha256` is empty where the server does not have the file. The input has `input_width` x `input_height` pixels;
    `preprocess` has the keys of the model's configuration, such as `resize` and `resample`.
    """

    id: str
    sha256: str
    input_width: int
    input_height: int
    preprocess: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmbedderInfo(ModelInfo):
    """The model that makes vectors of `dimension` numbers; `id` is what `search_embeddings` has to name.

    `ranking_weights` tells apart the weights by which products of its catalogs are ordered where local features are
    compared; it is empty for an older server.
    """

    dimension: int = 0
    ranking_weights: str = ""


@dataclass(frozen=True, slots=True)
class TextEncoderInfo:
    """The model that makes vectors of texts; a text has at most `max_tokens` tokens, those around it included.

    `default_weight` is the weight of a text for which a search gives none.
    """

    id: str
    sha256: str
    max_tokens: int
    default_weight: float


@dataclass(frozen=True, slots=True)
class DetectorInfo(ModelInfo):
    """The model that finds objects; `labels` are the words that it has for them."""

    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServedCatalog:
    """A catalog that the caller may search; a search that names none means the one that `is_default`."""

    name: str
    is_default: bool
    embedder: EmbedderInfo
    consent: ConsentMode
    text_encoder: TextEncoderInfo | None = None
    """None where searches with a text are refused."""


@dataclass(frozen=True, slots=True)
class PeopleRules:
    """The handling of people in photos: whether they are `found`, and so not searched, and `redacted` (greyed out).

    `labels` are the detector's words for them, from `min_score` on.
    """

    found: bool
    redacted: bool
    labels: tuple[str, ...]
    min_score: float


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """The bounds of one request; `max_regions` bounds embeddings, too."""

    max_photo_bytes: int
    max_photo_pixels: int
    photo_formats: tuple[str, ...]
    max_regions: int
    max_objects: int
    default_objects: int
    max_products: int
    default_products: int
    max_text_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server as one caller may see it."""

    server_version: str
    catalogs: tuple[ServedCatalog, ...]
    detector: DetectorInfo
    people: PeopleRules
    limits: SearchLimits

    def catalog(self, name: str = "") -> ServedCatalog | None:
        """The catalog of that name, or the default one; None where it is not described."""
        return next((each for each in self.catalogs if each.name == name or (not name and each.is_default)), None)


def info_from_pb(message: pb.GetServerInfoResponse) -> ServerInfo:
    """The typed value of a message."""
    people, limits, detector = message.people, message.limits, message.detector
    return ServerInfo(
        server_version=message.server_version,
        catalogs=tuple(_catalog_from_pb(each) for each in message.catalogs),
        detector=DetectorInfo(
            *(detector.id, detector.sha256, detector.input_width, detector.input_height),
            preprocess=_facts(detector.preprocess_json),
            labels=tuple(detector.labels),
        ),
        people=PeopleRules(people.found, people.redacted, tuple(people.labels), people.min_score),
        limits=SearchLimits(
            max_photo_bytes=limits.max_photo_bytes,
            max_photo_pixels=limits.max_photo_pixels,
            photo_formats=tuple(limits.photo_formats),
            max_regions=limits.max_regions,
            max_objects=limits.max_objects,
            default_objects=limits.default_objects,
            max_products=limits.max_products,
            default_products=limits.default_products,
            max_text_bytes=limits.max_text_bytes,
        ),
    )


_MODES = {
    pb.CONSENT_MODE_OFF: ConsentMode.OFF,
    pb.CONSENT_MODE_OPTIONAL: ConsentMode.OPTIONAL,
    pb.CONSENT_MODE_REQUIRED: ConsentMode.REQUIRED,
}


def _catalog_from_pb(catalog: pb.ServedCatalog) -> ServedCatalog:
    embedder = catalog.embedder
    return ServedCatalog(
        catalog.name,
        catalog.is_default,
        EmbedderInfo(
            *(embedder.id, embedder.sha256, embedder.input_width, embedder.input_height),
            preprocess=_facts(embedder.preprocess_json),
            dimension=embedder.dimension,
            ranking_weights=embedder.ranking_weights,
        ),
        _MODES.get(catalog.consent, ConsentMode.UNKNOWN),
        _text_encoder_from_pb(catalog.text_encoder) if catalog.HasField("text_encoder") else None,
    )


def _text_encoder_from_pb(model: pb.ServedTextEncoder) -> TextEncoderInfo:
    return TextEncoderInfo(model.id, model.sha256, model.max_tokens, model.default_weight)


def _facts(text: str) -> Mapping[str, object]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
