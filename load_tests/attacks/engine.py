"""F1: another user of the machine at the engine of a running server.

The engine reads every photo and runs code for anyone who reaches it, so only the server's user may. The same attempts
are made on a Triton on TCP that is started here: if they fail there too, the attack proves nothing.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import psutil

from load_tests.attacks.frame import Attack, Bound, Skipped, Target
from load_tests.generator.photos import ROOT
from load_tests.observe.processes import below
from tests.support.remote_triton import remote_triton

EVERYTHING = {"connect", "ready", "index", "regions", "load", "infer", "unload"}
"""All that a neighbour can do to an engine on TCP (`tests/support/neighbour.py`)."""
ATTEMPTS_S = 100.0


async def run(target: Target, share: float) -> list[Bound]:
    """Attacks the server's engine as another user, then a Triton on TCP in the same way."""
    # In this thread, because Triton ends with the thread that starts it.
    engine = Engine.of(target.pid)
    done = await asyncio.to_thread(done_by_a_neighbour, engine.address)
    unexpected = set(tcp_listeners(target.pid).values()) - engine.metrics_ports
    with remote_triton(engine.repository) as triton:
        control = await asyncio.to_thread(done_by_a_neighbour, triton.url)
    return [
        Bound(named("attempts of another user that succeeded", done), len(done), 0),
        Bound(named("TCP listeners below the server but for metrics", unexpected), len(unexpected), 0),
        Bound(
            named("attempts that failed on a Triton on TCP (then this proves nothing)", EVERYTHING - control),
            len(EVERYTHING - control),
            0,
        ),
    ]


def named(what: str, found: set[str] | set[int]) -> str:
    """The name of a figure, with what it counts where there is something."""
    return f"{what} ({', '.join(map(str, sorted(found)))})" if found else what


class Engine:
    """The engine of a running server as its command line shows it."""

    def __init__(self, command: list[str]) -> None:
        self._options = dict(word.split("=", 1) for word in command if word.startswith("--") and "=" in word)

    @classmethod
    def of(cls, server: int) -> "Engine":
        """The one below the process `server`. Raises ValueError where there is not exactly one."""
        (process,) = below(server)["tritonserver"]
        return cls(process.cmdline())

    @property
    def address(self) -> str:
        """The gRPC target of the engine."""
        return f"{self._options['--grpc-address']}:{self._options['--grpc-port']}"

    @property
    def repository(self) -> Path:
        """The folder that its models come from, without blanks or letters beyond ASCII."""
        return Path(self._options["--model-repository"])

    @property
    def metrics_ports(self) -> set[int]:
        """The port of its metrics, if it has been given one."""
        return {int(self._options["--metrics-port"])} if "--metrics-port" in self._options else set()


def done_by_a_neighbour(target: str) -> set[str]:
    """Attacks of another user that succeed on the engine at `target`, a gRPC address. Raises `Skipped` without root."""
    if os.geteuid() != 0:
        raise Skipped("not root, so it cannot become another user")
    command = [sys.executable, "-P", "-m", "tests.support.neighbour", target]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=ATTEMPTS_S)
    if ran.returncode:
        raise RuntimeError(f"the attacker failed:\n{ran.stderr}")
    return set(ran.stdout.split())


def tcp_listeners(pid: int) -> dict[str, int]:
    """Name -> port of every TCP listener of the processes below `pid`, as `/proc/PID/net/tcp` and their sockets say."""
    return {
        f"{each.name()}:{listener.laddr.port}": listener.laddr.port
        for each in psutil.Process(pid).children(recursive=True)
        for listener in each.net_connections("tcp")
        if listener.status == psutil.CONN_LISTEN
    }


ATTACK = Attack("engine", "F1: another user at the engine", run)
