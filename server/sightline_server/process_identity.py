"""The identity of a process: its number and its start time, because the kernel reuses the numbers of dead processes.

Rule: standard library only, because programs that are run by file and start in a few milliseconds load this module.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, distinct from every other that has or will have its number. Its text is `PID-START`."""

    pid: int

    start: str
    """Start time in clock ticks since boot; empty for a process that was already gone when it was looked up."""

    def __str__(self) -> str:
        return f"{self.pid}-{self.start}"

    @property
    def lives(self) -> bool:
        """True if the process is still there; one that has ended counts until its parent has waited for it."""
        return bool(self.start) and start_time(self.pid) == self.start

    @property
    def replaced(self) -> bool:
        """True if the number now belongs to another process."""
        return start_time(self.pid) not in ("", self.start)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The process of a text `PID-START` or `PID-START-...`; None for anything else."""
        pid, _, rest = text.partition("-")
        start = rest.partition("-")[0]
        return cls(int(pid), start) if is_number(pid) and is_number(start) else None


def is_number(text: str) -> bool:
    """Returns whether `text` consists of ASCII digits."""
    return text.isascii() and text.isdigit()


def identity_of(pid: int) -> ProcessIdentity:
    """The process that has the number `pid` now."""
    return ProcessIdentity(pid, start_time(pid))


def own_identity() -> ProcessIdentity:
    """This process."""
    return identity_of(os.getpid())


def start_time(pid: int) -> str:
    """The start of the process, in clock ticks since boot; empty when there is no such process."""
    fields = stat_fields(pid)
    return fields[19] if fields else ""


def stat_fields(pid: int) -> list[str]:
    """`/proc/PID/stat` from the state on: [0] state, [1] parent, [2] group, [19] start; empty when it is gone.

    Raises `OSError` when this process has no descriptor left for the check, which says nothing about the other.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return []
    # The name before the last ")" may hold blanks and brackets.
    return text.rpartition(")")[2].split()
