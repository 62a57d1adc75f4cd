"""Sightline's client library: one photo in, typed events out; and products into catalogs.

`AsyncClient` and `Client` search; what they yield is in `sightline_client.events`. `AsyncCatalogClient` and
`CatalogClient` write and read catalogs. Everything that they raise is a `SightlineError`. Rule: light. Importing this
package loads nothing; the first name that is used loads gRPC and the contract, and nothing of the server.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sightline_client.aio import AsyncClient, ObjectParameters, SearchParameters
    from sightline_client.answers import Answer, AnsweredObject
    from sightline_client.catalog.aio import AsyncCatalogClient
    from sightline_client.catalog.operations import (
        DecimalSign,
        ExportResult,
        FeedFormat,
        ImportResult,
        Operation,
        Progress,
        RowProblem,
    )
    from sightline_client.catalog.products import (
        KEEP,
        CatalogProduct,
        Embedding,
        Price,
        ProductDeletion,
        ProductImage,
        ProductStatus,
        ProductUpdate,
    )
    from sightline_client.catalog.revisions import CatalogInfo, Revision, RevisionKind
    from sightline_client.catalog.sync import CatalogClient
    from sightline_client.errors import (
        AlreadyExistsError,
        AnswerTooLargeError,
        ClientStateError,
        ConfigurationError,
        ConflictError,
        DeadlineExceededError,
        FailedPreconditionError,
        FieldViolation,
        InternalError,
        InvalidRequestError,
        NotBuiltError,
        NotFoundError,
        OverloadedError,
        PermissionDeniedError,
        PhotoTooLargeError,
        RequestTooLargeError,
        SearchCancelledError,
        SightlineError,
        StreamBrokenError,
        UnauthenticatedError,
        UnavailableError,
    )
    from sightline_client.events import (
        Accepted,
        Box,
        Detected,
        DetectedObject,
        Done,
        Event,
        FailureReason,
        FilterPlan,
        FilterPlanKind,
        Lane,
        MatchLevel,
        Notice,
        ObjectFailure,
        ObjectResults,
        ObjectSource,
        Point,
        Product,
        RankedProduct,
        Reason,
        ReasonKind,
        Region,
        SkippedStep,
        StageTimings,
        TapBox,
    )
    from sightline_client.filter_text import FilterTextError, parse_filter
    from sightline_client.filters import Filter, PriceRange
    from sightline_client.options import ClientOptions, RetryOptions, TlsOptions
    from sightline_client.server_info import (
        ConsentMode,
        DetectorInfo,
        EmbedderInfo,
        PeopleRules,
        SearchLimits,
        ServedCatalog,
        ServerInfo,
        TextEncoderInfo,
    )
    from sightline_client.sync import Client

__all__ = [
    "KEEP",
    "Accepted",
    "AlreadyExistsError",
    "Answer",
    "AnswerTooLargeError",
    "AnsweredObject",
    "AsyncCatalogClient",
    "AsyncClient",
    "Box",
    "CatalogClient",
    "CatalogInfo",
    "CatalogProduct",
    "Client",
    "ClientOptions",
    "ClientStateError",
    "ConfigurationError",
    "ConflictError",
    "ConsentMode",
    "DeadlineExceededError",
    "DecimalSign",
    "Detected",
    "DetectedObject",
    "DetectorInfo",
    "Done",
    "EmbedderInfo",
    "Embedding",
    "Event",
    "ExportResult",
    "FailedPreconditionError",
    "FailureReason",
    "FeedFormat",
    "FieldViolation",
    "Filter",
    "FilterPlan",
    "FilterPlanKind",
    "FilterTextError",
    "ImportResult",
    "InternalError",
    "InvalidRequestError",
    "Lane",
    "MatchLevel",
    "NotBuiltError",
    "NotFoundError",
    "Notice",
    "ObjectFailure",
    "ObjectParameters",
    "ObjectResults",
    "ObjectSource",
    "Operation",
    "OverloadedError",
    "PeopleRules",
    "PermissionDeniedError",
    "PhotoTooLargeError",
    "Point",
    "Price",
    "PriceRange",
    "Product",
    "ProductDeletion",
    "ProductImage",
    "ProductStatus",
    "ProductUpdate",
    "Progress",
    "RankedProduct",
    "Reason",
    "ReasonKind",
    "Region",
    "RequestTooLargeError",
    "RetryOptions",
    "Revision",
    "RevisionKind",
    "RowProblem",
    "SearchCancelledError",
    "SearchLimits",
    "SearchParameters",
    "ServedCatalog",
    "ServerInfo",
    "SightlineError",
    "SkippedStep",
    "StageTimings",
    "StreamBrokenError",
    "TapBox",
    "TextEncoderInfo",
    "TlsOptions",
    "UnauthenticatedError",
    "UnavailableError",
    "parse_filter",
]

_MODULES = (
    *("aio", "answers", "errors", "events", "filter_text", "filters", "options", "server_info", "sync"),
    *("catalog.aio", "catalog.operations", "catalog.products", "catalog.revisions", "catalog.sync"),
)
"""The modules that define the public names."""


def __getattr__(name: str) -> object:
    """Loads a public name when it is used first, so that a command can end in order while gRPC is being loaded."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in _MODULES:
        loaded = importlib.import_module(f"{__name__}.{module}")
        if hasattr(loaded, name):
            globals()[name] = getattr(loaded, name)
            break
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
