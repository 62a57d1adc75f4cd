"""tritonserver as a process.

Rule: no asyncio here and no policy; lifecycle.py and watch.py decide when to start, stop and restart. The engine's log
lives in a bounded buffer and never on disk.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from sightline_server.embedded.command import Ports, command_line, environment
from sightline_server.embedded.cores import SharedCores
from sightline_server.embedded.installation import Installation
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.triton import regions, sharing

LOG_LINES = 400
LOG_LINE_CHARACTERS = 1000
PROVIDER_LINE = re.compile(r"sightline provider (\S+) (\w+) (\w+)")


class TritonProcess:
    """A tritonserver: start it once, read its log, end it."""

    def __init__(
        self,
        installation: Installation,
        repository: Path,
        models: tuple[str, ...],
        ports: Ports,
        prefix: str,
        on_provider: Callable[[str, str, str], None] = lambda model, provider, precision: None,
        *,
        gpu: bool = False,
        bf16: Collection[str] = (),
    ) -> None:
        """`prefix` begins the names of its shared memory; `on_provider(model, name, precision)` is called from another
        thread.

        With `gpu` a model that ONNX Runtime would run on the CPU fails to load, without it no GPU is visible. The
        models of `bf16` run in bf16 or fail to load.
        """
        self.ports = ports
        self.prefix = prefix
        memory = sharing.stub_memory(sharing.room().free, len(models))
        self._command = command_line(installation, repository, models, ports, prefix, memory)
        self._installation, self._gpu, self._bf16 = installation, gpu, bf16
        self._cores: SharedCores | None = None
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
        """True if it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it. Only from the main thread, whose end would otherwise end the engine."""
        if threading.current_thread() is not threading.main_thread():
            raise SightlineError(ErrorKind.CONFIGURATION, "the embedded engine must be started from the main thread")
        self._cores = SharedCores()
        launcher = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")), str(os.getpid())]
        self._process = subprocess.Popen(
            launcher + self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(self._installation, self._cores.paths, gpu=self._gpu, bf16=self._bf16),
            text=True,
            errors="replace",
            process_group=0,
            pass_fds=self._cores.descriptors,
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
                    self._on_provider(match[1], match[2], match[3])

    def log_tail(self, lines: int = 25) -> list[str]:
        """The latest lines that say something, oldest first; tables of options are left out."""
        told = [line for line in self._log if line and not line.startswith(("|", "+")) and not line.endswith("]")]
        return told[-lines:]

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
        if self._cores:
            self._cores.close()
