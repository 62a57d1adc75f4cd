from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MatchLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MATCH_LEVEL_UNSPECIFIED: _ClassVar[MatchLevel]
    MATCH_LEVEL_WEAK: _ClassVar[MatchLevel]
    MATCH_LEVEL_SIMILAR: _ClassVar[MatchLevel]
    MATCH_LEVEL_SAME_ITEM: _ClassVar[MatchLevel]

class ReasonKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_KIND_UNSPECIFIED: _ClassVar[ReasonKind]
    REASON_KIND_VISUAL_SIMILARITY: _ClassVar[ReasonKind]
    REASON_KIND_CATEGORY_MATCH: _ClassVar[ReasonKind]
    REASON_KIND_UNAVAILABLE: _ClassVar[ReasonKind]
    REASON_KIND_CODE: _ClassVar[ReasonKind]
    REASON_KIND_LOCAL_FEATURES: _ClassVar[ReasonKind]
    REASON_KIND_COLOUR: _ClassVar[ReasonKind]
    REASON_KIND_PRINTED_TEXT: _ClassVar[ReasonKind]
MATCH_LEVEL_UNSPECIFIED: MatchLevel
MATCH_LEVEL_WEAK: MatchLevel
MATCH_LEVEL_SIMILAR: MatchLevel
MATCH_LEVEL_SAME_ITEM: MatchLevel
REASON_KIND_UNSPECIFIED: ReasonKind
REASON_KIND_VISUAL_SIMILARITY: ReasonKind
REASON_KIND_CATEGORY_MATCH: ReasonKind
REASON_KIND_UNAVAILABLE: ReasonKind
REASON_KIND_CODE: ReasonKind
REASON_KIND_LOCAL_FEATURES: ReasonKind
REASON_KIND_COLOUR: ReasonKind
REASON_KIND_PRINTED_TEXT: ReasonKind

class Product(_message.Message):
    __slots__ = ("id", "title", "brand", "category", "price", "availability", "link", "image_link", "item_group_id", "gtin", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    BRAND_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    AVAILABILITY_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    IMAGE_LINK_FIELD_NUMBER: _ClassVar[int]
    ITEM_GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    GTIN_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    id: str
    title: str
    brand: str
    category: str
    price: str
    availability: str
    link: str
    image_link: str
    item_group_id: str
    gtin: str
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, id: _Optional[str] = ..., title: _Optional[str] = ..., brand: _Optional[str] = ..., category: _Optional[str] = ..., price: _Optional[str] = ..., availability: _Optional[str] = ..., link: _Optional[str] = ..., image_link: _Optional[str] = ..., item_group_id: _Optional[str] = ..., gtin: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("kind", "contribution", "text")
    KIND_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    kind: ReasonKind
    contribution: float
    text: str
    def __init__(self, kind: _Optional[_Union[ReasonKind, str]] = ..., contribution: _Optional[float] = ..., text: _Optional[str] = ...) -> None: ...

class RankedProduct(_message.Message):
    __slots__ = ("product", "similarity", "score", "rank", "matched_image", "level", "reasons")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    MATCHED_IMAGE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    product: Product
    similarity: float
    score: float
    rank: int
    matched_image: str
    level: MatchLevel
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    def __init__(self, product: _Optional[_Union[Product, _Mapping]] = ..., similarity: _Optional[float] = ..., score: _Optional[float] = ..., rank: _Optional[int] = ..., matched_image: _Optional[str] = ..., level: _Optional[_Union[MatchLevel, str]] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ...) -> None: ...
