"""The port of the policy: which caller may use which catalog, in which lane.

Rule: the answer to a catalog that does not exist is the policy's, too, so that a denial says nothing about which
catalogs exist (https://google.aip.dev/211).
"""

from dataclasses import dataclass
from typing import Protocol

from sightline_server.access.principal import Caller
from sightline_server.domain.request import Lane


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer about one call. `reason` is for the audit and is never sent to callers."""

    allowed: bool
    reason: str


class Policy(Protocol):
    """Decides about calls; an exception refuses the call."""

    def decide(self, caller: Caller, catalog: str, lane: Lane) -> Decision:
        """The decision about a call on `catalog`, which may be a name that the server does not have."""


class OpenPolicy:
    """Allows every call: the policy of a server that has no policy file."""

    def decide(self, caller: Caller, catalog: str, lane: Lane) -> Decision:
        """See `Policy`."""
        return OPEN


OPEN = Decision(allowed=True, reason="the server has no policy")
