import datetime

from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DecimalSign(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECIMAL_SIGN_UNSPECIFIED: _ClassVar[DecimalSign]
    DECIMAL_SIGN_POINT: _ClassVar[DecimalSign]
    DECIMAL_SIGN_COMMA: _ClassVar[DecimalSign]

class FeedFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEED_FORMAT_UNSPECIFIED: _ClassVar[FeedFormat]
    FEED_FORMAT_CSV: _ClassVar[FeedFormat]
    FEED_FORMAT_TSV: _ClassVar[FeedFormat]
    FEED_FORMAT_JSONL: _ClassVar[FeedFormat]
    FEED_FORMAT_XML: _ClassVar[FeedFormat]
    FEED_FORMAT_PARQUET: _ClassVar[FeedFormat]
DECIMAL_SIGN_UNSPECIFIED: DecimalSign
DECIMAL_SIGN_POINT: DecimalSign
DECIMAL_SIGN_COMMA: DecimalSign
FEED_FORMAT_UNSPECIFIED: FeedFormat
FEED_FORMAT_CSV: FeedFormat
FEED_FORMAT_TSV: FeedFormat
FEED_FORMAT_JSONL: FeedFormat
FEED_FORMAT_XML: FeedFormat
FEED_FORMAT_PARQUET: FeedFormat

class ImportProductsRequest(_message.Message):
    __slots__ = ("parent", "uri", "embedded", "encoding", "currency", "decimal_sign")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    EMBEDDED_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    DECIMAL_SIGN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    uri: str
    embedded: bool
    encoding: str
    currency: str
    decimal_sign: DecimalSign
    def __init__(self, parent: _Optional[str] = ..., uri: _Optional[str] = ..., embedded: _Optional[bool] = ..., encoding: _Optional[str] = ..., currency: _Optional[str] = ..., decimal_sign: _Optional[_Union[DecimalSign, str]] = ...) -> None: ...

class ImportProductsResponse(_message.Message):
    __slots__ = ("product_count", "revision")
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    product_count: int
    revision: str
    def __init__(self, product_count: _Optional[int] = ..., revision: _Optional[str] = ...) -> None: ...

class ExportProductsRequest(_message.Message):
    __slots__ = ("parent", "uri", "format", "embeddings", "revision", "replace")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    URI_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    parent: str
    uri: str
    format: FeedFormat
    embeddings: bool
    revision: int
    replace: bool
    def __init__(self, parent: _Optional[str] = ..., uri: _Optional[str] = ..., format: _Optional[_Union[FeedFormat, str]] = ..., embeddings: _Optional[bool] = ..., revision: _Optional[int] = ..., replace: _Optional[bool] = ...) -> None: ...

class ExportProductsResponse(_message.Message):
    __slots__ = ("product_count", "image_count", "revision")
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    product_count: int
    image_count: int
    revision: str
    def __init__(self, product_count: _Optional[int] = ..., image_count: _Optional[int] = ..., revision: _Optional[str] = ...) -> None: ...

class ReembedCatalogRequest(_message.Message):
    __slots__ = ("parent", "embedder", "skip_missing", "max_lost_percent")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDER_FIELD_NUMBER: _ClassVar[int]
    SKIP_MISSING_FIELD_NUMBER: _ClassVar[int]
    MAX_LOST_PERCENT_FIELD_NUMBER: _ClassVar[int]
    parent: str
    embedder: str
    skip_missing: bool
    max_lost_percent: int
    def __init__(self, parent: _Optional[str] = ..., embedder: _Optional[str] = ..., skip_missing: _Optional[bool] = ..., max_lost_percent: _Optional[int] = ...) -> None: ...

class ReembedCatalogResponse(_message.Message):
    __slots__ = ("revision", "revision_number", "product_count", "image_count", "reused_count", "left_out_count")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REVISION_NUMBER_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_COUNT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    REUSED_COUNT_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_COUNT_FIELD_NUMBER: _ClassVar[int]
    revision: str
    revision_number: int
    product_count: int
    image_count: int
    reused_count: int
    left_out_count: int
    def __init__(self, revision: _Optional[str] = ..., revision_number: _Optional[int] = ..., product_count: _Optional[int] = ..., image_count: _Optional[int] = ..., reused_count: _Optional[int] = ..., left_out_count: _Optional[int] = ...) -> None: ...

class TransferMetadata(_message.Message):
    __slots__ = ("create_time", "end_time", "rows_total", "rows_read", "rows_written", "rows_failed", "problem_count", "problems")
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ROWS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    ROWS_READ_FIELD_NUMBER: _ClassVar[int]
    ROWS_WRITTEN_FIELD_NUMBER: _ClassVar[int]
    ROWS_FAILED_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    rows_total: int
    rows_read: int
    rows_written: int
    rows_failed: int
    problem_count: int
    problems: _containers.RepeatedCompositeFieldContainer[RowProblem]
    def __init__(self, create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rows_total: _Optional[int] = ..., rows_read: _Optional[int] = ..., rows_written: _Optional[int] = ..., rows_failed: _Optional[int] = ..., problem_count: _Optional[int] = ..., problems: _Optional[_Iterable[_Union[RowProblem, _Mapping]]] = ...) -> None: ...

class RowProblem(_message.Message):
    __slots__ = ("row", "product_id", "description", "skipped")
    ROW_FIELD_NUMBER: _ClassVar[int]
    PRODUCT_ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    row: int
    product_id: str
    description: str
    skipped: bool
    def __init__(self, row: _Optional[int] = ..., product_id: _Optional[str] = ..., description: _Optional[str] = ..., skipped: _Optional[bool] = ...) -> None: ...
