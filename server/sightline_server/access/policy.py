"""The port of the policy: which caller may call which method, and use which catalog in which lane.

Rule: the answer to a catalog that does not exist is the policy's, too, so that a denial says nothing about which
catalogs exist (https://google.aip.dev/211).
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from sightline_server.access.principal import Caller
from sightline_server.domain.request import Lane


class Subject(Enum):
    """The part of a call that a decision is about."""

    METHOD = "method"
    LANE = "lane"
    CATALOG = "catalog"


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer about one call. `reason` is for the audit and is never sent to callers."""

    allowed: bool
    reason: str
    subject: Subject = Subject.CATALOG


class Policy(Protocol):
    """Decides about calls; an exception refuses the call."""

    def admit(self, caller: Caller) -> Decision:
        """The decision about the method, before anything of the request is read."""

    def decide(self, caller: Caller, catalog: str, lane: Lane) -> Decision:
        """The decision about a call on `catalog`, which may be a name that the server does not have.

        Whether `lane` is allowed depends on the caller alone, never on the catalog.
        """

    def decide_lane(self, caller: Caller, lane: Lane) -> Decision:
        """The decision about a call that is about the server as a whole and not about one catalog."""


class OpenPolicy:
    """Allows every call: the policy of a server that has no policy file."""

    def admit(self, caller: Caller) -> Decision:
        """See `Policy`."""
        return OPEN

    def decide(self, caller: Caller, catalog: str, lane: Lane) -> Decision:
        """See `Policy`."""
        return OPEN

    def decide_lane(self, caller: Caller, lane: Lane) -> Decision:
        """See `Policy`."""
        return OPEN


OPEN = Decision(allowed=True, reason="the server has no policy")
