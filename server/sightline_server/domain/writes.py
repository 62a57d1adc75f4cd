"""The terms of a write: what must hold when it is written, and how its request is recognised when it is repeated."""

from collections.abc import Mapping
from dataclasses import dataclass, field

STALE = -1
"""In a receipt: the product had another etag than the caller stated, so it was not written."""
MISSING = 0
"""In a receipt: there was no such product."""


@dataclass(frozen=True, slots=True)
class WriteTerms:
    """`etags` has the etag that a product must have, by id; products that are not named have no condition.

    `mark` is a digest of the request that a `request_id` stands for. Empty: that of the rows, which suits rows that are
    equal bit by bit when they are sent again. `dry_run` checks everything and writes nothing.
    """

    etags: Mapping[str, str] = field(default_factory=dict)
    mark: bytes = b""
    dry_run: bool = False


PLAIN = WriteTerms()
"""No conditions."""
