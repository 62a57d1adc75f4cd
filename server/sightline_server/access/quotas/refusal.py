"""The refusals of calls that exceed the quota of their caller."""

import math

from sightline_server.access.quotas.quota import BYTES, CALLS, CONCURRENT, PHOTOS, SHARE, Quota, Rate
from sightline_server.errors import ErrorKind, SightlineError

PRINCIPAL, PSEUDONYM = "principal", "pseudonym"
"""Subjects of a quota. The name of a principal is the operator's, so it is not sent."""
MILLISECOND_S = 0.001


def exceeded(kind: str, message: str, wait_s: float, subject: str = PRINCIPAL) -> SightlineError:
    """The error of a call that the bound `kind` of `subject` refuses for `wait_s` seconds."""
    # Rounded up and one more, so that a caller that waits exactly so long is not early by a rounding error.
    rounded_s = math.ceil(wait_s / MILLISECOND_S + 1) * MILLISECOND_S
    metadata = {"quota": kind, "subject": subject}
    return SightlineError(ErrorKind.QUOTA_EXCEEDED, message, retry_after_s=rounded_s, metadata=metadata)


def refused(kind: str, quota: Quota, wait_s: float) -> SightlineError:
    """The error of a call that the bound `kind` of `quota` refuses for `wait_s` seconds."""
    if kind == CALLS and quota.calls is not None:
        bound = f"{quota.calls.per_minute} calls a minute, {quota.calls.burst} at once"
    elif kind == BYTES and quota.bytes is not None:
        bound = f"{quota.bytes.per_minute} bytes of requests a minute, {quota.bytes.burst} at once"
    elif kind == CONCURRENT and quota.concurrent is not None:
        bound = f"{quota.concurrent} open calls"
    else:
        return exceeded(kind, "the quota of this caller cannot be counted at the moment", wait_s)
    return exceeded(kind, f"the quota of this caller is used up: {bound}", wait_s)


def photos_used_up(rate: Rate, wait_s: float) -> SightlineError:
    """The error of a search whose pseudonym has used up its `rate` of photos for `wait_s` seconds."""
    bound = f"{rate.per_minute} photos a minute, {rate.burst} at once"
    return exceeded(PHOTOS, f"the quota of this person is used up: {bound}", wait_s, PSEUDONYM)


def photos_not_counted(wait_s: float) -> SightlineError:
    """The error of a search whose pseudonym cannot be counted for `wait_s` seconds."""
    return exceeded(PHOTOS, "the quota of this person cannot be counted at the moment", wait_s, PSEUDONYM)


def share_taken(slots: int) -> SightlineError:
    """The error of a call whose caller has all of the `slots` that its share allows."""
    return exceeded(SHARE, f"this caller has its share of the server's slots, {slots} at the moment", 1.0)
