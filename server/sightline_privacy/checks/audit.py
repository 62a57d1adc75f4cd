"""Audit: each call has its record, and no record has a fact about a photo."""

import json
from collections.abc import Iterator

from sightline_privacy.conversation import Conversation
from sightline_privacy.marks import Marks
from sightline_privacy.promises import Promise
from sightline_privacy.report import Result, judged, not_checked
from sightline_privacy.sources import Sources

DECIDED = frozenset({"OK", "NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "FAILED_PRECONDITION"})
"""Codes of calls about whose access the server has decided; a request that cannot be read is refused before."""


def facts_in_records(sources: Sources, marks: Marks) -> list[str]:
    """Findings about photo facts in records and other files of the audit."""
    return [
        f"the audit log {written.path.name} holds {kind}"
        for written in sources.new_audit()
        for kind in sorted(marks.in_text(written.read().decode(errors="replace")))
    ]


def recorded(made: Conversation, sources: Sources, facts: list[str]) -> Result:
    """Each call that the server answered has a record under its request id."""
    if sources.audit is None:
        return not_checked(Promise.AUDIT, "give the folder of the audit log: --audit")
    known = {str(record.get("request_id")) for record in records(sources)}
    named = [outcome for outcome in made.outcomes if outcome.request_id and outcome.code in DECIDED]
    missing = [f"the call for {each.name} has no record" for each in named if each.request_id not in known]
    return judged(
        Promise.AUDIT,
        [*facts, *missing],
        f"{len(named)} calls have their records; `sightline audit verify` has the rest",
    )


def records(sources: Sources) -> Iterator[dict[str, object]]:
    """The new records; a line that is being written is left out."""
    for written in sources.new_audit():
        for line in written.read().splitlines() if written.path.suffix == ".jsonl" else ():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                yield record
