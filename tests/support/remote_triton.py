"""A Triton at a fixed address, as an operator runs it, that a test can end, start again and pause."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from sightline_server import owned_names
from sightline_server.embedded.command import Ports, free_ports
from sightline_server.embedded.install import install
from sightline_server.embedded.process import TritonProcess
from tests.support.engine import sightline_home, wait_until_it_listens

numbers = count()


@dataclass
class RemoteTriton:
    """tritonserver with its stubs, on the models of `repository`, which may be changed between two starts."""

    repository: Path
    ports: Ports = field(default_factory=free_ports)
    options: tuple[str, ...] = ()
    """More options of tritonserver."""
    process: TritonProcess | None = None

    @property
    def url(self) -> str:
        """HOST:PORT of its gRPC service."""
        return str(self.ports.address)

    def start(self) -> None:
        """Returns when it listens."""
        installation = install(sightline_home(), progress=lambda text: None)
        prefix = f"{owned_names.own_prefix()}remote{next(numbers)}-"
        self.process = TritonProcess(installation, self.repository, ("detector", "embedder"), self.ports, prefix)
        self.process._command += self.options
        self.process.start()
        wait_until_it_listens(self.process)

    def end(self) -> None:
        """Kills it."""
        if self.process:
            self.process.end(0)
            self.process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Neither tritonserver nor its stubs run for the length of the block."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)


@contextmanager
def remote_triton(repository: Path, *options: str) -> Iterator[RemoteTriton]:
    """A started one for the length of the block, with more `options` of tritonserver."""
    triton = RemoteTriton(repository, options=options)
    try:
        triton.start()
        yield triton
    finally:
        triton.end()
