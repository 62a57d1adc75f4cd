"""The audit: one record for each decision about a call.

Rule: a record says who asked for what, and what was decided. It holds nothing of a photo, and no name that a caller
invented.
"""

import logging
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

log = logging.getLogger(__name__)

ALLOWED, DENIED = "allowed", "denied"


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One decision. An empty text means that it was not known: `principal` of a caller who could not be identified,
    `catalog` and `lane` where the request had not been read, `catalog` also where the server has none of that name.
    """

    request_id: str
    principal: str
    service: str
    method: str
    catalog: str
    lane: str
    decision: str
    reason: str


class Audit(Protocol):
    """Keeps audit records."""

    def record(self, record: AuditRecord) -> None:
        """Takes `record`, without waiting for the disk. An exception refuses the call."""


@runtime_checkable
class DurableAudit(Audit, Protocol):
    """An audit whose records take time to be kept, so that calls wait for theirs."""

    async def durable(self, request_id: str) -> None:
        """Returns when the records taken for this call are kept; an exception refuses the call."""

    def forget(self, request_id: str) -> None:
        """Ends the call, which does not wait for its records any more; they are kept nevertheless."""


class LogAudit:
    """Writes records to the server's log: denied calls as warnings, allowed ones at level DEBUG."""

    def record(self, record: AuditRecord) -> None:
        """See `Audit`."""
        level = logging.WARNING if record.decision == DENIED else logging.DEBUG
        if log.isEnabledFor(level):
            fields = {name: getattr(record, name) or None for name in AuditRecord.__slots__}
            log.log(level, "access %s", record.decision, extra=fields)
