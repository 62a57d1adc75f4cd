"""The slots that the calls of one caller take, for callers whose quota is a share of them.

Rule: the share is of the limit at each moment, so that the others keep the rest of it also when it shrinks.
"""

from collections import Counter

from sightline_server.access.quotas.quota import WHOLE, Share
from sightline_server.access.quotas.refusal import share_taken


class Shares:
    """The calls inside by the owner of their share; those of owners without a share are not counted."""

    def __init__(self) -> None:
        self._inside: Counter[str] = Counter()

    def check(self, share: Share, slots: int) -> None:
        """Raises `SightlineError` of kind QUOTA_EXCEEDED where the owner has all that `share` allows of `slots`."""
        if share is not WHOLE and self._inside[share.owner] >= share.slots(slots):
            raise share_taken(share.slots(slots))

    def entered(self, share: Share) -> None:
        """A call has a slot."""
        if share is not WHOLE:
            self._inside[share.owner] += 1

    def left(self, share: Share) -> None:
        """A call has given its slot back."""
        if share is not WHOLE:
            self._inside[share.owner] -= 1
            if not self._inside[share.owner]:
                del self._inside[share.owner]
