"""The processes that run the models, below tritonserver.

Rule: a stub is a process identity and never a number alone, so that no other process is killed in its place.
"""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sightline_server.process_identity import ProcessIdentity, stat_fields


@dataclass(frozen=True, slots=True)
class Stub:
    """One process that runs one model instance."""

    process: ProcessIdentity
    model: str

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid


def stubs_of(server: int) -> list[Stub]:
    """The stubs that run now below the tritonserver with process id `server`."""
    numbers = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    return [stub for number in numbers if (stub := stub_at(number, server))]


def stub_at(pid: int, server: int) -> Stub | None:
    """The stub with process id `pid`; None where that is something else."""
    fields = stat_fields(pid)
    if not fields or fields[1] != str(server) or fields[0] in "ZX":
        return None
    with suppress(OSError, IndexError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[0].endswith(b"triton_python_backend_stub"):
            # REPOSITORY/MODEL/VERSION/model.onnx is the stub's first argument.
            return Stub(ProcessIdentity(pid, fields[19]), Path(words[1].decode()).parts[-3])
    return None


def stub_is_well(stub: Stub) -> bool:
    """Returns whether a stub still runs: not dead, not stopped, not another process under its number."""
    fields = stat_fields(stub.pid)
    return bool(fields) and fields[19] == stub.process.start and fields[0] not in "ZXTt"


def kill_stub(stub: Stub) -> None:
    """Kills a stub, unless its number has passed to another process."""
    if stub.process.lives:
        with suppress(ProcessLookupError):
            os.kill(stub.pid, signal.SIGKILL)
