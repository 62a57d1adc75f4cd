"""The end of a chain on the disk, which a restart continues from and which shows whether records are missing.

Rule: two slots that are written in turn, in place, so that one of them is whole at any moment and the key of two groups
before is overwritten. The state is written after the records, so it is never ahead of them.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sightline_server.access.audit_log.chain import KEY_BYTES, Link

SLOT_BYTES = 512
SLOTS = 2


@dataclass(frozen=True, slots=True)
class State:
    """The end of a chain: `link`, at byte `size` of `file` (a name; empty for a chain without a file).

    `closed` says that the process ended in order, so that nothing was being written.
    """

    link: Link
    file: str = ""
    size: int = 0
    closed: bool = False

    def encode(self) -> bytes:
        """The content of a slot."""
        facts = {"seq": self.link.seq, "key": self.link.key.hex(), "mac": self.link.mac.hex()}
        body = json.dumps({**facts, "file": self.file, "size": self.size, "closed": self.closed}).encode()
        slot = b"%s %s" % (hashlib.sha256(body).hexdigest()[:16].encode(), body)
        return slot.ljust(SLOT_BYTES - 1) + b"\n"

    @classmethod
    def decode(cls, slot: bytes) -> Self | None:
        """The state in a slot; None for one that is empty or damaged."""
        digest, _, body = slot.rstrip().partition(b" ")
        if hashlib.sha256(body).hexdigest()[:16].encode() != digest:
            return None
        facts = json.loads(body)
        link = Link(facts["seq"], bytes.fromhex(facts["key"]), bytes.fromhex(facts["mac"]))
        return cls(link, facts["file"], facts["size"], facts["closed"]) if len(link.key) == KEY_BYTES else None


def read_state(path: Path) -> State | None:
    """The latest state in the file; None where there is none. Raises `OSError` for a file that cannot be read."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    slots = [content[start : start + SLOT_BYTES] for start in range(0, SLOT_BYTES * SLOTS, SLOT_BYTES)]
    found = [state for slot in slots if (state := State.decode(slot)) is not None]
    # Of two with the same records, the closed one is later.
    return max(found, key=lambda state: (state.link.seq, state.closed), default=None)


class StateFile:
    """The file of the state while its chain is written."""

    def __init__(self, path: Path) -> None:
        """Opens or makes it, private to its owner. Raises `OSError`."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._turn = 0

    def write(self, state: State, *, both: bool = False, sync: bool = False) -> None:
        """Writes `state` into the older slot, or into `both`; `sync` brings it to the disk. Raises `OSError`."""
        for _ in range(SLOTS if both else 1):
            os.pwrite(self._descriptor, state.encode(), self._turn * SLOT_BYTES)
            self._turn = (self._turn + 1) % SLOTS
        if sync:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)
