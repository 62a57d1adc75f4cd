"""The server's one exception: what went wrong, in a kind, and the words that a caller may read.

Rule: `message` is public and holds no photo facts; the cause stays in `__cause__` and in the log. The gRPC code of a
kind is chosen once, in `rpc/status.py`.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class ErrorKind(Enum):
    """Every way in which a request or a start can fail."""

    INVALID_IMAGE = "INVALID_IMAGE"
    INVALID_REQUEST = "INVALID_REQUEST"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    UNKNOWN_CATALOG = "UNKNOWN_CATALOG"
    UNKNOWN_PRODUCT = "UNKNOWN_PRODUCT"
    UNKNOWN_REVISION = "UNKNOWN_REVISION"
    UNKNOWN_OPERATION = "UNKNOWN_OPERATION"
    FILTER_UNSUPPORTED = "FILTER_UNSUPPORTED"
    GROUPS_UNSUPPORTED = "GROUPS_UNSUPPORTED"
    REVISION_REMOVED = "REVISION_REMOVED"
    REVISION_OUTDATED = "REVISION_OUTDATED"
    EMBEDDER_CHANGED = "EMBEDDER_CHANGED"
    EMBEDDER_NOT_SERVED = "EMBEDDER_NOT_SERVED"
    EMBEDDER_MISMATCH = "EMBEDDER_MISMATCH"
    TEXT_NOT_SUPPORTED = "TEXT_NOT_SUPPORTED"
    CATALOG_EXISTS = "CATALOG_EXISTS"
    CATALOG_NOT_EMPTY = "CATALOG_NOT_EMPTY"
    CATALOG_IS_REPLICA = "CATALOG_IS_REPLICA"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    NOT_BUILT = "NOT_BUILT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    GRANT_MISSING = "GRANT_MISSING"
    GRANT_INVALID = "GRANT_INVALID"
    GRANT_EXPIRED = "GRANT_EXPIRED"
    GRANT_PURPOSE = "GRANT_PURPOSE"
    GRANT_OTHER_PHOTO = "GRANT_OTHER_PHOTO"
    GRANT_REPLAYED = "GRANT_REPLAYED"
    GRANT_STORE_UNAVAILABLE = "GRANT_STORE_UNAVAILABLE"
    OVERLOADED = "OVERLOADED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    ENGINE_UNAVAILABLE = "ENGINE_UNAVAILABLE"
    INDEX_UNAVAILABLE = "INDEX_UNAVAILABLE"
    AUDIT_UNAVAILABLE = "AUDIT_UNAVAILABLE"
    STOPPING = "STOPPING"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    MODEL_ANSWER = "MODEL_ANSWER"
    CONFIGURATION = "CONFIGURATION"
    INTERNAL = "INTERNAL"


class SightlineError(Exception):
    """A failure with a kind.

    `message` is shown to callers. `field` names the request field at fault. `retry_after_s` says when trying again
    makes sense. `metadata` are public facts for programs, such as a limit's value.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        field: str = "",
        retry_after_s: float | None = None,
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s
        self.metadata = metadata

    def __repr__(self) -> str:
        return f"SightlineError({self.kind.name}, {self.message!r})"
