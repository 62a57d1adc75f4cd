"""The conversation between the server and the fork server.

Rule: a message is one packet. The fork server loads no photo, so its messages are trusted.
"""

import json
from dataclasses import dataclass

FORK = b"fork"
READY = b"ready"
"""The message of a fork server that has loaded the image libraries."""


@dataclass(frozen=True, slots=True)
class Forked:
    """A process was forked, and its pidfd is sent along; `pid` 0: the kernel refused."""

    pid: int

    def encode(self) -> bytes:
        """The message."""
        return json.dumps({"forked": self.pid}).encode()


@dataclass(frozen=True, slots=True)
class Ended:
    """A forked process is gone; `code` is its exit code, or the negative number of the signal that ended it."""

    pid: int
    code: int

    def encode(self) -> bytes:
        """The message."""
        return json.dumps({"ended": [self.pid, self.code]}).encode()


def decoded(message: bytes) -> Forked | Ended:
    """The message in a packet."""
    values = json.loads(message)
    return Forked(values["forked"]) if "forked" in values else Ended(*values["ended"])
