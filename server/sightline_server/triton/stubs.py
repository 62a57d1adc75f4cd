"""The processes that run the models, below tritonserver.

Rule: a process number says little; a stub is its number and its start time, so that nobody else's process is ended.
"""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sightline_server.triton import regions


@dataclass(frozen=True, slots=True)
class Stub:
    """One process that runs one model instance."""

    pid: int
    start: str
    model: str


def stubs_of(server: int) -> list[Stub]:
    """The stubs that run now below the tritonserver with process id `server`."""
    numbers = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [stub for number in numbers if (stub := stub_at(number, server))]


def stub_at(pid: int, server: int) -> Stub | None:
    """The stub with process id `pid`; None where that is something else."""
    fields = regions.stat_fields(pid)
    if not fields or fields[1] != str(server) or fields[0] in "ZX":
        return None
    with suppress(OSError, IndexError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[0].endswith(b"triton_python_backend_stub"):
            # REPOSITORY/MODEL/VERSION/model.onnx is the stub's first argument.
            return Stub(pid, fields[19], Path(words[1].decode()).parts[-3])
    return None


def stub_is_well(stub: Stub) -> bool:
    """Returns whether a stub still runs: not dead, not stopped, not another process under its number."""
    fields = regions.stat_fields(stub.pid)
    return bool(fields) and fields[19] == stub.start and fields[0] not in "ZXTt"


def kill_stub(stub: Stub) -> None:
    """Kills a stub, unless its number has passed to another process."""
    if regions.start_time(stub.pid) == stub.start:
        with suppress(ProcessLookupError):
            os.kill(stub.pid, signal.SIGKILL)
