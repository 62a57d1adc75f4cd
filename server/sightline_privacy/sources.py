"""The sources where a server may leave something: its log, metrics, spans, audit and files.

Rule: only what came after `Sources.begin` counts, and `unread` names what could not be searched.
"""

import os
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LARGEST_FILE = 512 << 20
"""Larger files are not searched, and are named."""
CLOCK_LAG_S = 0.05
"""The clock of file times may lag behind that of processes."""
METRICS_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written, or the part of it that was."""

    path: Path
    begin: int = 0

    def read(self) -> bytes:
        """Its content; empty where it is gone, which a file may be at any time."""
        try:
            with self.path.open("rb") as file:
                # A file that is shorter than before was begun again.
                file.seek(self.begin if os.fstat(file.fileno()).st_size >= self.begin else 0)
                return file.read(LARGEST_FILE)
        except OSError:
            return b""


@dataclass
class Sources:
    """The sources of one server. Nothing is left out in silence: `unread` names what could not be searched."""

    logs: Sequence[Path] = ()
    spans: Sequence[Path] = ()
    folders: Sequence[Path] = ()
    audit: Path | None = None
    metrics_url: str = ""
    begun: float = 0.0
    unread: list[str] = field(default_factory=list)
    _sizes: dict[Path, int] = field(default_factory=dict)

    def begin(self) -> None:
        """Notes how far everything is written."""
        for path in (*self.logs, *self.spans, *self._audit_files()):
            self._sizes[path] = path.stat().st_size if path.is_file() else 0
        self.begun = time.time() - CLOCK_LAG_S

    def new_of(self, paths: Iterable[Path]) -> list[Written]:
        """The parts that were written to files that only grow."""
        return [Written(path, self._sizes.get(path, 0)) for path in paths]

    def new_audit(self) -> list[Written]:
        """The parts that were written to the audit log."""
        return self.new_of(self._audit_files())

    def new_files(self) -> Iterator[Written]:
        """The files in the folders that were written, without those that are other sources."""
        others = {path.resolve() for path in (*self.logs, *self.spans, *self._audit_files())}
        for folder in dict.fromkeys(each.resolve() for each in self.folders):
            for path in files_below(folder):
                try:
                    status = path.stat()
                except OSError:
                    continue
                if not path.is_file() or status.st_mtime < self.begun or path.resolve() in others:
                    continue
                if status.st_size > LARGEST_FILE:
                    self.unread.append(f"{path} is larger than {LARGEST_FILE >> 20} MiB")
                elif os.access(path, os.R_OK):
                    yield Written(path)
                else:
                    self.unread.append(f"{path} cannot be read")

    def metrics(self) -> str:
        """The page of metrics without its comments. Raises `OSError`."""
        with urllib.request.urlopen(self.metrics_url, timeout=METRICS_TIMEOUT_S) as answer:  # noqa: S310 (http only)
            page: bytes = answer.read()
        return "\n".join(line for line in page.decode(errors="replace").splitlines() if not line.startswith("#"))

    def _audit_files(self) -> list[Path]:
        return [] if self.audit is None else sorted(path for path in self.audit.rglob("*") if path.is_file())


def files_below(folder: Path) -> Iterator[Path]:
    """The files below a folder; links to folders are not followed."""
    for parent, _, names in os.walk(folder):
        for name in names:
            yield Path(parent) / name
