from sightline.v1 import geometry_pb2 as _geometry_pb2
from sightline.v1 import product_pb2 as _product_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Lane(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LANE_UNSPECIFIED: _ClassVar[Lane]
    LANE_INTERACTIVE: _ClassVar[Lane]
    LANE_BATCH: _ClassVar[Lane]

class ObjectSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OBJECT_SOURCE_UNSPECIFIED: _ClassVar[ObjectSource]
    OBJECT_SOURCE_DETECTOR: _ClassVar[ObjectSource]
    OBJECT_SOURCE_BOX: _ClassVar[ObjectSource]
    OBJECT_SOURCE_TAP: _ClassVar[ObjectSource]
    OBJECT_SOURCE_WHOLE_PHOTO: _ClassVar[ObjectSource]
    OBJECT_SOURCE_CODE: _ClassVar[ObjectSource]
    OBJECT_SOURCE_EMBEDDING: _ClassVar[ObjectSource]
    OBJECT_SOURCE_CROP: _ClassVar[ObjectSource]

class TapBox(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TAP_BOX_UNSPECIFIED: _ClassVar[TapBox]
    TAP_BOX_DETECTION: _ClassVar[TapBox]
    TAP_BOX_GROWN: _ClassVar[TapBox]
    TAP_BOX_SQUARE: _ClassVar[TapBox]

class FailureReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_REASON_UNSPECIFIED: _ClassVar[FailureReason]
    FAILURE_REASON_MODEL_ANSWER: _ClassVar[FailureReason]
    FAILURE_REASON_INTERNAL: _ClassVar[FailureReason]
    FAILURE_REASON_PERSON: _ClassVar[FailureReason]
    FAILURE_REASON_TOO_LARGE: _ClassVar[FailureReason]

class Notice(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOTICE_UNSPECIFIED: _ClassVar[Notice]
    NOTICE_PERSON_ONLY: _ClassVar[Notice]

class SkippedStep(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SKIPPED_STEP_UNSPECIFIED: _ClassVar[SkippedStep]
    SKIPPED_STEP_CODES: _ClassVar[SkippedStep]
    SKIPPED_STEP_LOCAL_FEATURES: _ClassVar[SkippedStep]
    SKIPPED_STEP_LOOK_CLOSER: _ClassVar[SkippedStep]
    SKIPPED_STEP_PRINTED_TEXT: _ClassVar[SkippedStep]

class FilterPlanKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILTER_PLAN_KIND_UNSPECIFIED: _ClassVar[FilterPlanKind]
    FILTER_PLAN_KIND_NO_MATCH: _ClassVar[FilterPlanKind]
    FILTER_PLAN_KIND_ALL: _ClassVar[FilterPlanKind]
    FILTER_PLAN_KIND_GATHER: _ClassVar[FilterPlanKind]
    FILTER_PLAN_KIND_SELECTOR: _ClassVar[FilterPlanKind]
    FILTER_PLAN_KIND_EXACT: _ClassVar[FilterPlanKind]

class ConsentMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONSENT_MODE_UNSPECIFIED: _ClassVar[ConsentMode]
    CONSENT_MODE_OFF: _ClassVar[ConsentMode]
    CONSENT_MODE_OPTIONAL: _ClassVar[ConsentMode]
    CONSENT_MODE_REQUIRED: _ClassVar[ConsentMode]
LANE_UNSPECIFIED: Lane
LANE_INTERACTIVE: Lane
LANE_BATCH: Lane
OBJECT_SOURCE_UNSPECIFIED: ObjectSource
OBJECT_SOURCE_DETECTOR: ObjectSource
OBJECT_SOURCE_BOX: ObjectSource
OBJECT_SOURCE_TAP: ObjectSource
OBJECT_SOURCE_WHOLE_PHOTO: ObjectSource
OBJECT_SOURCE_CODE: ObjectSource
OBJECT_SOURCE_EMBEDDING: ObjectSource
OBJECT_SOURCE_CROP: ObjectSource
TAP_BOX_UNSPECIFIED: TapBox
TAP_BOX_DETECTION: TapBox
TAP_BOX_GROWN: TapBox
TAP_BOX_SQUARE: TapBox
FAILURE_REASON_UNSPECIFIED: FailureReason
FAILURE_REASON_MODEL_ANSWER: FailureReason
FAILURE_REASON_INTERNAL: FailureReason
FAILURE_REASON_PERSON: FailureReason
FAILURE_REASON_TOO_LARGE: FailureReason
NOTICE_UNSPECIFIED: Notice
NOTICE_PERSON_ONLY: Notice
SKIPPED_STEP_UNSPECIFIED: SkippedStep
SKIPPED_STEP_CODES: SkippedStep
SKIPPED_STEP_LOCAL_FEATURES: SkippedStep
SKIPPED_STEP_LOOK_CLOSER: SkippedStep
SKIPPED_STEP_PRINTED_TEXT: SkippedStep
FILTER_PLAN_KIND_UNSPECIFIED: FilterPlanKind
FILTER_PLAN_KIND_NO_MATCH: FilterPlanKind
FILTER_PLAN_KIND_ALL: FilterPlanKind
FILTER_PLAN_KIND_GATHER: FilterPlanKind
FILTER_PLAN_KIND_SELECTOR: FilterPlanKind
FILTER_PLAN_KIND_EXACT: FilterPlanKind
CONSENT_MODE_UNSPECIFIED: ConsentMode
CONSENT_MODE_OFF: ConsentMode
CONSENT_MODE_OPTIONAL: ConsentMode
CONSENT_MODE_REQUIRED: ConsentMode

class SearchRequest(_message.Message):
    __slots__ = ("photo", "regions", "filter", "catalog", "max_objects", "max_products", "min_similarity", "lane", "grant", "one_per_group", "crops", "look_closer", "text", "text_weight")
    PHOTO_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    MAX_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    MAX_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    MIN_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    ONE_PER_GROUP_FIELD_NUMBER: _ClassVar[int]
    CROPS_FIELD_NUMBER: _ClassVar[int]
    LOOK_CLOSER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TEXT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    photo: bytes
    regions: _containers.RepeatedCompositeFieldContainer[_geometry_pb2.Region]
    filter: Filter
    catalog: str
    max_objects: int
    max_products: int
    min_similarity: float
    lane: Lane
    grant: str
    one_per_group: bool
    crops: _containers.RepeatedScalarFieldContainer[bytes]
    look_closer: bool
    text: str
    text_weight: float
    def __init__(self, photo: _Optional[bytes] = ..., regions: _Optional[_Iterable[_Union[_geometry_pb2.Region, _Mapping]]] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., catalog: _Optional[str] = ..., max_objects: _Optional[int] = ..., max_products: _Optional[int] = ..., min_similarity: _Optional[float] = ..., lane: _Optional[_Union[Lane, str]] = ..., grant: _Optional[str] = ..., one_per_group: _Optional[bool] = ..., crops: _Optional[_Iterable[bytes]] = ..., look_closer: _Optional[bool] = ..., text: _Optional[str] = ..., text_weight: _Optional[float] = ...) -> None: ...

class SearchEmbeddingsRequest(_message.Message):
    __slots__ = ("embedder", "vectors", "filter", "catalog", "max_products", "min_similarity", "lane", "grant", "one_per_group", "text", "text_weight")
    EMBEDDER_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    MAX_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    MIN_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    ONE_PER_GROUP_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TEXT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    embedder: str
    vectors: _containers.RepeatedScalarFieldContainer[bytes]
    filter: Filter
    catalog: str
    max_products: int
    min_similarity: float
    lane: Lane
    grant: str
    one_per_group: bool
    text: str
    text_weight: float
    def __init__(self, embedder: _Optional[str] = ..., vectors: _Optional[_Iterable[bytes]] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., catalog: _Optional[str] = ..., max_products: _Optional[int] = ..., min_similarity: _Optional[float] = ..., lane: _Optional[_Union[Lane, str]] = ..., grant: _Optional[str] = ..., one_per_group: _Optional[bool] = ..., text: _Optional[str] = ..., text_weight: _Optional[float] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("brands", "categories", "price", "availabilities", "prices", "attributes", "product_ids", "item_group_ids", "excluded_product_ids", "excluded_item_group_ids")
    BRANDS_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    AVAILABILITIES_FIELD_NUMBER: _ClassVar[int]
    PRICES_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    ITEM_GROUP_IDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_PRODUCT_IDS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_ITEM_GROUP_IDS_FIELD_NUMBER: _ClassVar[int]
    brands: _containers.RepeatedScalarFieldContainer[str]
    categories: _containers.RepeatedScalarFieldContainer[str]
    price: PriceRange
    availabilities: _containers.RepeatedScalarFieldContainer[str]
    prices: _containers.RepeatedCompositeFieldContainer[PriceRange]
    attributes: _containers.RepeatedCompositeFieldContainer[AttributeCondition]
    product_ids: _containers.RepeatedScalarFieldContainer[str]
    item_group_ids: _containers.RepeatedScalarFieldContainer[str]
    excluded_product_ids: _containers.RepeatedScalarFieldContainer[str]
    excluded_item_group_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, brands: _Optional[_Iterable[str]] = ..., categories: _Optional[_Iterable[str]] = ..., price: _Optional[_Union[PriceRange, _Mapping]] = ..., availabilities: _Optional[_Iterable[str]] = ..., prices: _Optional[_Iterable[_Union[PriceRange, _Mapping]]] = ..., attributes: _Optional[_Iterable[_Union[AttributeCondition, _Mapping]]] = ..., product_ids: _Optional[_Iterable[str]] = ..., item_group_ids: _Optional[_Iterable[str]] = ..., excluded_product_ids: _Optional[_Iterable[str]] = ..., excluded_item_group_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class PriceRange(_message.Message):
    __slots__ = ("currency", "minimum", "maximum")
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    currency: str
    minimum: float
    maximum: float
    def __init__(self, currency: _Optional[str] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ...) -> None: ...

class AttributeCondition(_message.Message):
    __slots__ = ("name", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("accepted", "detected", "results", "failure", "done")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DETECTED_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    accepted: Accepted
    detected: Detected
    results: ObjectResults
    failure: ObjectFailure
    done: Done
    def __init__(self, accepted: _Optional[_Union[Accepted, _Mapping]] = ..., detected: _Optional[_Union[Detected, _Mapping]] = ..., results: _Optional[_Union[ObjectResults, _Mapping]] = ..., failure: _Optional[_Union[ObjectFailure, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("request_id", "catalog", "catalog_revision")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    CATALOG_REVISION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    catalog: str
    catalog_revision: str
    def __init__(self, request_id: _Optional[str] = ..., catalog: _Optional[str] = ..., catalog_revision: _Optional[str] = ...) -> None: ...

class Detected(_message.Message):
    __slots__ = ("objects", "redacted", "further")
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    REDACTED_FIELD_NUMBER: _ClassVar[int]
    FURTHER_FIELD_NUMBER: _ClassVar[int]
    objects: _containers.RepeatedCompositeFieldContainer[DetectedObject]
    redacted: int
    further: bool
    def __init__(self, objects: _Optional[_Iterable[_Union[DetectedObject, _Mapping]]] = ..., redacted: _Optional[int] = ..., further: _Optional[bool] = ...) -> None: ...

class DetectedObject(_message.Message):
    __slots__ = ("object_id", "box", "label", "score", "source", "tap_box")
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TAP_BOX_FIELD_NUMBER: _ClassVar[int]
    object_id: str
    box: _geometry_pb2.BoundingBox
    label: str
    score: float
    source: ObjectSource
    tap_box: TapBox
    def __init__(self, object_id: _Optional[str] = ..., box: _Optional[_Union[_geometry_pb2.BoundingBox, _Mapping]] = ..., label: _Optional[str] = ..., score: _Optional[float] = ..., source: _Optional[_Union[ObjectSource, str]] = ..., tap_box: _Optional[_Union[TapBox, str]] = ...) -> None: ...

class ObjectResults(_message.Message):
    __slots__ = ("object_id", "products")
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    object_id: str
    products: _containers.RepeatedCompositeFieldContainer[_product_pb2.RankedProduct]
    def __init__(self, object_id: _Optional[str] = ..., products: _Optional[_Iterable[_Union[_product_pb2.RankedProduct, _Mapping]]] = ...) -> None: ...

class ObjectFailure(_message.Message):
    __slots__ = ("object_id", "reason", "message")
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    object_id: str
    reason: FailureReason
    message: str
    def __init__(self, object_id: _Optional[str] = ..., reason: _Optional[_Union[FailureReason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("timings", "catalog_revision", "detector", "embedder", "applied_filter", "request_id", "notice", "catalog", "filter_plan", "skipped", "text_weight")
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    CATALOG_REVISION_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    EMBEDDER_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FILTER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    FILTER_PLAN_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    TEXT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    timings: StageTimings
    catalog_revision: str
    detector: str
    embedder: str
    applied_filter: str
    request_id: str
    notice: Notice
    catalog: str
    filter_plan: FilterPlan
    skipped: _containers.RepeatedScalarFieldContainer[SkippedStep]
    text_weight: float
    def __init__(self, timings: _Optional[_Union[StageTimings, _Mapping]] = ..., catalog_revision: _Optional[str] = ..., detector: _Optional[str] = ..., embedder: _Optional[str] = ..., applied_filter: _Optional[str] = ..., request_id: _Optional[str] = ..., notice: _Optional[_Union[Notice, str]] = ..., catalog: _Optional[str] = ..., filter_plan: _Optional[_Union[FilterPlan, _Mapping]] = ..., skipped: _Optional[_Iterable[_Union[SkippedStep, str]]] = ..., text_weight: _Optional[float] = ...) -> None: ...

class FilterPlan(_message.Message):
    __slots__ = ("kind", "products", "images")
    KIND_FIELD_NUMBER: _ClassVar[int]
    PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    kind: FilterPlanKind
    products: int
    images: int
    def __init__(self, kind: _Optional[_Union[FilterPlanKind, str]] = ..., products: _Optional[int] = ..., images: _Optional[int] = ...) -> None: ...

class StageTimings(_message.Message):
    __slots__ = ("decode_ms", "codes_ms", "detect_ms", "crop_ms", "embed_ms", "text_ms", "search_ms", "local_features_ms", "printed_text_ms", "rank_ms", "look_closer_ms", "queue_ms", "total_ms")
    DECODE_MS_FIELD_NUMBER: _ClassVar[int]
    CODES_MS_FIELD_NUMBER: _ClassVar[int]
    DETECT_MS_FIELD_NUMBER: _ClassVar[int]
    CROP_MS_FIELD_NUMBER: _ClassVar[int]
    EMBED_MS_FIELD_NUMBER: _ClassVar[int]
    TEXT_MS_FIELD_NUMBER: _ClassVar[int]
    SEARCH_MS_FIELD_NUMBER: _ClassVar[int]
    LOCAL_FEATURES_MS_FIELD_NUMBER: _ClassVar[int]
    PRINTED_TEXT_MS_FIELD_NUMBER: _ClassVar[int]
    RANK_MS_FIELD_NUMBER: _ClassVar[int]
    LOOK_CLOSER_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    decode_ms: float
    codes_ms: float
    detect_ms: float
    crop_ms: float
    embed_ms: float
    text_ms: float
    search_ms: float
    local_features_ms: float
    printed_text_ms: float
    rank_ms: float
    look_closer_ms: float
    queue_ms: float
    total_ms: float
    def __init__(self, decode_ms: _Optional[float] = ..., codes_ms: _Optional[float] = ..., detect_ms: _Optional[float] = ..., crop_ms: _Optional[float] = ..., embed_ms: _Optional[float] = ..., text_ms: _Optional[float] = ..., search_ms: _Optional[float] = ..., local_features_ms: _Optional[float] = ..., printed_text_ms: _Optional[float] = ..., rank_ms: _Optional[float] = ..., look_closer_ms: _Optional[float] = ..., queue_ms: _Optional[float] = ..., total_ms: _Optional[float] = ...) -> None: ...

class GetServerInfoRequest(_message.Message):
    __slots__ = ("catalog", "lane")
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    catalog: str
    lane: Lane
    def __init__(self, catalog: _Optional[str] = ..., lane: _Optional[_Union[Lane, str]] = ...) -> None: ...

class GetServerInfoResponse(_message.Message):
    __slots__ = ("server_version", "catalogs", "detector", "people", "limits")
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    CATALOGS_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    server_version: str
    catalogs: _containers.RepeatedCompositeFieldContainer[ServedCatalog]
    detector: ServedDetector
    people: PeopleRules
    limits: SearchLimits
    def __init__(self, server_version: _Optional[str] = ..., catalogs: _Optional[_Iterable[_Union[ServedCatalog, _Mapping]]] = ..., detector: _Optional[_Union[ServedDetector, _Mapping]] = ..., people: _Optional[_Union[PeopleRules, _Mapping]] = ..., limits: _Optional[_Union[SearchLimits, _Mapping]] = ...) -> None: ...

class ServedCatalog(_message.Message):
    __slots__ = ("name", "is_default", "embedder", "consent", "text_encoder")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDER_FIELD_NUMBER: _ClassVar[int]
    CONSENT_FIELD_NUMBER: _ClassVar[int]
    TEXT_ENCODER_FIELD_NUMBER: _ClassVar[int]
    name: str
    is_default: bool
    embedder: ServedEmbedder
    consent: ConsentMode
    text_encoder: ServedTextEncoder
    def __init__(self, name: _Optional[str] = ..., is_default: _Optional[bool] = ..., embedder: _Optional[_Union[ServedEmbedder, _Mapping]] = ..., consent: _Optional[_Union[ConsentMode, str]] = ..., text_encoder: _Optional[_Union[ServedTextEncoder, _Mapping]] = ...) -> None: ...

class ServedEmbedder(_message.Message):
    __slots__ = ("id", "sha256", "dimension", "input_width", "input_height", "preprocess_json", "ranking_weights")
    ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    INPUT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    INPUT_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    PREPROCESS_JSON_FIELD_NUMBER: _ClassVar[int]
    RANKING_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    sha256: str
    dimension: int
    input_width: int
    input_height: int
    preprocess_json: str
    ranking_weights: str
    def __init__(self, id: _Optional[str] = ..., sha256: _Optional[str] = ..., dimension: _Optional[int] = ..., input_width: _Optional[int] = ..., input_height: _Optional[int] = ..., preprocess_json: _Optional[str] = ..., ranking_weights: _Optional[str] = ...) -> None: ...

class ServedTextEncoder(_message.Message):
    __slots__ = ("id", "sha256", "max_tokens", "default_weight")
    ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    id: str
    sha256: str
    max_tokens: int
    default_weight: float
    def __init__(self, id: _Optional[str] = ..., sha256: _Optional[str] = ..., max_tokens: _Optional[int] = ..., default_weight: _Optional[float] = ...) -> None: ...

class ServedDetector(_message.Message):
    __slots__ = ("id", "sha256", "labels", "input_width", "input_height", "preprocess_json")
    ID_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    INPUT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    INPUT_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    PREPROCESS_JSON_FIELD_NUMBER: _ClassVar[int]
    id: str
    sha256: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    input_width: int
    input_height: int
    preprocess_json: str
    def __init__(self, id: _Optional[str] = ..., sha256: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., input_width: _Optional[int] = ..., input_height: _Optional[int] = ..., preprocess_json: _Optional[str] = ...) -> None: ...

class PeopleRules(_message.Message):
    __slots__ = ("found", "redacted", "labels", "min_score")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    REDACTED_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    found: bool
    redacted: bool
    labels: _containers.RepeatedScalarFieldContainer[str]
    min_score: float
    def __init__(self, found: _Optional[bool] = ..., redacted: _Optional[bool] = ..., labels: _Optional[_Iterable[str]] = ..., min_score: _Optional[float] = ...) -> None: ...

class SearchLimits(_message.Message):
    __slots__ = ("max_photo_bytes", "max_photo_pixels", "photo_formats", "max_regions", "max_objects", "default_objects", "max_products", "default_products", "max_text_bytes")
    MAX_PHOTO_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_PHOTO_PIXELS_FIELD_NUMBER: _ClassVar[int]
    PHOTO_FORMATS_FIELD_NUMBER: _ClassVar[int]
    MAX_REGIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    MAX_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    MAX_TEXT_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_photo_bytes: int
    max_photo_pixels: int
    photo_formats: _containers.RepeatedScalarFieldContainer[str]
    max_regions: int
    max_objects: int
    default_objects: int
    max_products: int
    default_products: int
    max_text_bytes: int
    def __init__(self, max_photo_bytes: _Optional[int] = ..., max_photo_pixels: _Optional[int] = ..., photo_formats: _Optional[_Iterable[str]] = ..., max_regions: _Optional[int] = ..., max_objects: _Optional[int] = ..., default_objects: _Optional[int] = ..., max_products: _Optional[int] = ..., default_products: _Optional[int] = ..., max_text_bytes: _Optional[int] = ...) -> None: ...
