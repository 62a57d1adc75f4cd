"""Content-free errors: a refusal names its reason, and repeats nothing of the request."""

from sightline_privacy.conversation import Conversation
from sightline_privacy.marks import Kind, Marks
from sightline_privacy.promises import Promise
from sightline_privacy.report import Result, judged

SHOWN = frozenset({Kind.SIZE})
"""A refusal of a photo may say how large it is, which its sender knows, so that the sender can act on it."""


def content_free(made: Conversation, marks: Marks) -> Result:
    """No text and no metadata of a refused call has a mark; calls that were not refused are named."""
    refused = [each for each in made.outcomes if not each.succeeded]
    findings = [
        f"the refusal of {outcome.name} holds {kind}"
        for outcome in refused
        for kind in sorted(marks.in_text(outcome.said) - SHOWN)
    ]
    findings += [
        f"the failure of {outcome.name} has the code {outcome.code}"
        for outcome in refused
        if outcome.code in ("UNKNOWN", "INTERNAL")
    ]
    return judged(Promise.ERRORS, findings, f"searched {len(refused)} refusals")
