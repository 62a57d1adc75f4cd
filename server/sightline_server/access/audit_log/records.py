"""The records of an audit log as JSON fields.

Rule: names are those of ISO/IEC TS 27560 where it has a field. An empty value is left out. Nothing of a photo, and no
text that a caller chose, is in a record.
"""

from dataclasses import fields
from datetime import UTC, datetime

from sightline_server.access.audit import AuditRecord
from sightline_server.access.audit_log.chain import Fields

SCHEMA = "sightline-audit-1"
DECISION = "access_decision"
FILE_STARTED = "file_started"
FILES_REMOVED = "files_removed"
SUMMARY = "access_decisions_summarised"
NAMES = {"principal": "entity_id", "decision": "event_state", "notice": "privacy_notice"}
"""Fields of `AuditRecord` that ISO/IEC TS 27560 names otherwise."""


def instant(seconds: float) -> str:
    """A Unix time as an ISO 8601 text in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(kind: str, seconds: float, **more: object) -> Fields:
    """The fields of an event at Unix time `seconds`; empty ones are left out."""
    given = {name: value for name, value in more.items() if value not in (None, "")}
    return {"event_time": instant(seconds), "event_type": kind, **given}


def decision(record: AuditRecord, seconds: float) -> Fields:
    """The fields of a decision at Unix time `seconds`."""
    values = {NAMES.get(each.name, each.name): getattr(record, each.name) for each in fields(record)}
    return event(DECISION, seconds, **values)


def summary(record: AuditRecord, count: int, seconds: float) -> Fields:
    """The fields of one record for `count` decisions that are like `record`."""
    values = {NAMES.get(each.name, each.name): getattr(record, each.name) for each in fields(record)}
    return event(SUMMARY, seconds, **{**values, "request_id": "", "count": count})
