"""The reaper as its server sees it: a process next to the engine that cleans up when this one is killed (reaper.py)."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


class Reaper:
    """The process that cleans up when this one is killed."""

    def __init__(self, prefix: str) -> None:
        """It will remove what begins with `prefix`."""
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None
        self._engine = 0
        self._folder: Path | None = None

    @property
    def running(self) -> bool:
        """True if it is there."""
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
        if self._folder:
            self._tell(f"folder {self._folder}\n")
        if self._engine:
            self._tell(f"watch {self._engine}\n")

    def keep(self, folder: Path) -> None:
        """From now on `folder` is the runtime folder to remove."""
        if folder != self._folder:
            self._folder = folder
            self._tell(f"folder {folder}\n")

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
