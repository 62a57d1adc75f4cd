"""The processes of the embedded engine: tritonserver with its stubs, and the reaper.

Rule: no asyncio here and no policy; `engine.py` decides when to start, stop and mend. The engine's log lives in a
bounded buffer and never on disk.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton import regions
from sightline_server.triton.devices import DRIVER_FOLDERS
from sightline_server.triton.installation import Installation

LOG_LINES = 400
LOG_LINE_CHARACTERS = 1000
STUB_MEMORY_BYTES = 64 << 20
"""Shared memory that a stub begins with; it grows when a batch needs more."""

ON_GPU = "SIGHTLINE_ON_GPU"
PROVIDER_LINE = re.compile(r"sightline provider (\S+) (\w+)")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the engine listens, on 127.0.0.1."""

    grpc: int
    metrics: int


@dataclass(frozen=True, slots=True)
class Stub:
    """One process that runs one model instance."""

    pid: int
    start: str
    model: str


def free_ports() -> Ports:
    """Two ports that are free now; somebody may take one before the engine does, then starting is tried again."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return Ports(first.getsockname()[1], second.getsockname()[1])


class TritonProcess:
    """A tritonserver: start it once, read its log, end it."""

    def __init__(
        self,
        installation: Installation,
        repository: Path,
        models: tuple[str, ...],
        ports: Ports,
        prefix: str,
        on_provider: Callable[[str, str], None] = lambda model, provider: None,
        *,
        gpu: bool = False,
    ) -> None:
        """`prefix` begins the names of its shared memory; `on_provider(model, name)` is called from another thread.

        With `gpu` a model that ONNX Runtime would run on the CPU fails to load, without it no GPU is visible.
        """
        self.ports = ports
        self.prefix = prefix
        self._command = command_line(installation, repository, models, ports, prefix)
        self._environment = environment(installation, prefix, gpu=gpu)
        self._on_provider = on_provider
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._reader: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """The server's process id, which is its group's too; 0 before it was started."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it. Only from the main thread, whose end would otherwise end the engine."""
        if threading.current_thread() is not threading.main_thread():
            raise SightlineError(ErrorKind.CONFIGURATION, "the embedded engine must be started from the main thread")
        launcher = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")), str(os.getpid())]
        self._process = subprocess.Popen(
            launcher + self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            text=True,
            errors="replace",
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read_log, name="engine-log", daemon=True)
        self._reader.start()

    def _read_log(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with suppress(ValueError, OSError):
            for line in self._process.stdout:
                self._log.append(line.rstrip()[:LOG_LINE_CHARACTERS])
                if match := PROVIDER_LINE.search(line):
                    self._on_provider(match[1], match[2])

    def log_tail(self, lines: int = 25) -> list[str]:
        """The latest lines that say something, oldest first; tables of options are left out."""
        told = [line for line in self._log if line and not line.startswith(("|", "+")) and not line.endswith("]")]
        return told[-lines:]

    def stubs(self) -> list[Stub]:
        """The stubs that run now."""
        numbers = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
        return [stub for number in numbers if (stub := self._stub(number))]

    def _stub(self, pid: int) -> Stub | None:
        fields = regions.stat_fields(pid)
        if not fields or fields[1] != str(self.pid) or fields[0] in "ZX":
            return None
        with suppress(OSError, IndexError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"triton_python_backend_stub"):
                # REPOSITORY/MODEL/VERSION/model.onnx is the stub's first argument.
                return Stub(pid, fields[19], Path(words[1].decode()).parts[-3])
        return None

    def end(self, grace_s: float) -> None:
        """SIGTERM, and after `grace_s` SIGKILL to the whole group; then removes its shared memory. Blocks."""
        if self._process is None:
            return
        if self.running and grace_s > 0:
            with suppress(ProcessLookupError):
                self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        regions.remove(self.prefix)
        if self._reader:
            self._reader.join(2.0)
        if self._process.stdout:
            self._process.stdout.close()


def stub_is_well(stub: Stub) -> bool:
    """Whether a stub still runs: not dead, not stopped, not another process under its number."""
    fields = regions.stat_fields(stub.pid)
    return bool(fields) and fields[19] == stub.start and fields[0] not in "ZXTt"


def kill_stub(stub: Stub) -> None:
    """Kills a stub, unless its number has passed to another process."""
    if regions.start_time(stub.pid) == stub.start:
        with suppress(ProcessLookupError):
            os.kill(stub.pid, signal.SIGKILL)


def command_line(
    installation: Installation, repository: Path, models: tuple[str, ...], ports: Ports, prefix: str
) -> list[str]:
    """The command of tritonserver: these models only, everything on 127.0.0.1, no HTTP."""
    return [
        str(installation.tritonserver),
        f"--model-repository={repository}",
        f"--backend-directory={installation.backends}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in models),
        "--allow-http=false",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={ports.grpc}",
        "--metrics-address=127.0.0.1",
        f"--metrics-port={ports.metrics}",
        "--exit-timeout-secs=2",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        f"--backend-config=python,shm-default-byte-size={STUB_MEMORY_BYTES}",
        f"--backend-config=python,shm-growth-byte-size={STUB_MEMORY_BYTES}",
    ]


def environment(installation: Installation, prefix: str, *, gpu: bool) -> dict[str, str]:
    """The engine's environment variables: its own Python first, nothing of ours that would lead its stubs astray."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_"))}
    # Where the models' processes agree on who runs on which core (backend/model_cores.py).
    kept["SIGHTLINE_CORES"] = str(regions.FOLDER / f"{prefix}core")
    kept["LD_LIBRARY_PATH"] = library_path(installation, gpu=gpu)
    if gpu:
        # Read by our backend in the stubs: whatever kind of instance Triton makes, the CPU is refused.
        kept[ON_GPU] = "1"
    else:
        # On a machine with a GPU, Triton would otherwise ask for it.
        kept["CUDA_VISIBLE_DEVICES"] = ""
    kept["PATH"] = f"{installation.venv / 'bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}"
    return kept


def library_path(installation: Installation, *, gpu: bool) -> str:
    """`LD_LIBRARY_PATH`: the installation's folders; for a GPU also those that lead to the driver and to CUDA here."""
    folders = [installation.library_path]
    if gpu:
        given = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
        folders += [*given, *(str(folder) for folder in DRIVER_FOLDERS if folder.is_dir())]
    return ":".join(dict.fromkeys(folders))


class Reaper:
    """The process that cleans up when this one is killed."""

    def __init__(self, prefix: str) -> None:
        """It will remove what begins with `prefix`."""
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None
        self._engine = 0

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it, or starts it again if somebody ended it."""
        self._hang_up()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("reaper.py")), self._prefix, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if self._engine:
            self._tell(f"watch {self._engine}\n")

    def watch(self, engine: int) -> None:
        """From now on the process group of `engine` is the one to kill; 0 for none."""
        before, self._engine = self._engine, engine
        if before:
            self._tell(f"forget {before}\n")
        if engine:
            self._tell(f"watch {engine}\n")

    def _tell(self, line: str) -> None:
        if self._process and self._process.stdin:
            with suppress(OSError):
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()

    def end(self, patience_s: float = 2.0) -> None:
        """Lets it do its work and end. Blocks for at most `patience_s`."""
        if self._process is None:
            return
        self._hang_up()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _hang_up(self) -> None:
        if self._process and self._process.stdin:
            with suppress(OSError):
                self._process.stdin.close()
