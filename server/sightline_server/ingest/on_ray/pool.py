"""Workers on a Ray cluster, through Ray Data. The only module that imports Ray, and only when it is asked to.

Rule: nothing of Ray is printed, no usage statistics are sent, and whatever fails in it is a `SightlineError`.
"""

import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sightline_server.domain.address import is_loopback_host
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.ingest.on_ray.plan import Block
from sightline_server.ingest.on_ray.worker import Fault, Outcome, Work
from sightline_server.ingest.on_ray.worker_process import WorkerProcess

LOCAL_STORE_BYTES = 256 * 1024 * 1024
CONNECT_S = 5.0
HEALTH_S = 30.0
SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""With 0, Ray stays on loopback on every system. Otherwise it takes 127.0.0.1 for the machine's public address."""


class BlockActor:
    """A worker as Ray Data calls it: a table with one encoded block -> a table with its outcome."""

    def __init__(self, work: Work) -> None:
        self._worker = WorkerProcess(work)

    def __call__(self, table: pa.Table) -> pa.Table:
        """The outcomes of the blocks in `table`."""
        return outcome_table([self._worker.outcome(Block.decode(content)) for content in table["block"].to_pylist()])


@dataclass(frozen=True, slots=True)
class RayPool:
    """`Pool` of `workers` actors, each of which asks for `gpus` GPUs."""

    work: Work
    workers: int
    gpus: int

    def run(self, blocks: Iterable[Block]) -> Generator[Outcome, None, None]:
        """See `Pool`. Raises `SightlineError` of kind ENGINE_UNAVAILABLE where Ray fails."""
        import ray
        from ray.exceptions import RayError

        inputs = [ray.put(pa.table({"block": pa.array([block.encode()], pa.large_binary())})) for block in blocks]
        dataset = ray.data.from_arrow_refs(inputs).map_batches(
            BlockActor,
            fn_constructor_args=(self.work,),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=self.workers, max_tasks_in_flight_per_actor=2),
            num_cpus=1,
            num_gpus=self.gpus,
        )
        tables = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
        try:
            for table in tables:
                yield from outcomes(table)
        except RayError as error:
            raise failed(error) from error
        finally:
            if hasattr(tables, "close"):
                tables.close()


@contextmanager
def ray_pool(work: Work, address: str | None, workers: int | None, *, gpu: bool) -> Iterator[RayPool]:
    """The workers of the Ray at `address`, or of one on this machine for the length of the block.

    Without `workers`, one for each GPU where `gpu` allows them and there are some, else one for each node.
    Raises `SightlineError` of kind CONFIGURATION without the package or a Ray that answers.
    """
    ray = loaded(address)
    with connected(ray, address, workers):
        found = int(ray.cluster_resources().get("GPU", 0)) if gpu else 0
        nodes = sum(bool(node["Alive"]) for node in ray.nodes())
        yield RayPool(work, workers or found or nodes, 1 if found else 0)


def loaded(address: str | None) -> Any:
    """The package, for the Ray at `address`. Raises `SightlineError` of kind CONFIGURATION where it is missing."""
    os.environ.update(SWITCHES)
    if address is None or is_loopback_host(address.rpartition(":")[0].strip("[]")):
        os.environ[LOOPBACK] = "0"
    try:
        import ray
        import ray.data
    except ImportError as error:
        message = (
            f"--on ray needs Ray Data ({error.name or error} is missing); install it: pip install 'sightline[ray]'"
        )
        raise SightlineError(ErrorKind.CONFIGURATION, message) from error
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return ray


@contextmanager
def connected(ray: Any, address: str | None, workers: int | None) -> Iterator[None]:
    """A connection to the Ray at `address`, else to a new one on this machine, which ends with the block."""
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL, "include_dashboard": None}
    folder = None
    if address is not None:
        require_answer(address)
        if address != "auto":
            require_ray(address)
        quiet.pop("include_dashboard")
        options: dict[str, Any] = {"address": address, **quiet}
    else:
        # Its logs and sockets; a path with a socket in it may have 107 bytes, so that TMPDIR may be too long.
        folder = tempfile.mkdtemp(prefix="sightline-ray-", dir="/tmp")
        options = {
            **quiet,
            "address": "local",
            "include_dashboard": False,
            "num_cpus": max(os.cpu_count() or 1, workers or 1),
            "object_store_memory": LOCAL_STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
            "_temp_dir": folder,
        }
    try:
        try:
            with warnings.catch_warnings(), silent_stderr():
                # It is about processes that go on with Lance; those that Ray forks execute other programs.
                warnings.filterwarnings("ignore", message="lance is not fork-safe")
                ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = f"the Ray at {address}" if address else "Ray"
            message = f"{where} cannot be used: {first_line(error)}"
            raise SightlineError(ErrorKind.CONFIGURATION, message) from error
        # Otherwise Ray prints the raylets' remarks about killed actors to standard output; there is no option for it.
        ray._private.worker._worker_logs_enabled = False
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        yield
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Drops what is written to standard error in the block: Ray's C++ code prints there before its log has a level."""
    stderr, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nothing)


def require_answer(address: str) -> None:
    """Raises `SightlineError` of kind CONFIGURATION for an address that is none, or where nothing listens."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not host or not port.isdecimal():
        text = "expected HOST:PORT of a cluster that this machine is a node of, such as 10.0.0.1:6379"
        raise SightlineError(ErrorKind.CONFIGURATION, f"--address {address}: {text}")
    try:
        with closing(socket.create_connection((host.strip("[]"), int(port)), CONNECT_S)):
            pass
    except (OSError, OverflowError, UnicodeError) as error:
        raise no_answer(address, getattr(error, "strerror", None) or type(error).__name__) from error


def require_ray(address: str) -> None:
    """Raises `SightlineError` of kind CONFIGURATION where another program listens; `ray.init` would wait."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=HEALTH_S)
    except subprocess.SubprocessError as error:
        raise no_answer(address, "what listens there is another program, or another version of Ray") from error


def no_answer(address: str, reason: str) -> SightlineError:
    """The error of an address without a Ray."""
    message = f"no Ray answers at {address} ({reason}); start one with `ray start`, or leave --address out"
    return SightlineError(ErrorKind.CONFIGURATION, message)


def failed(error: Exception) -> SightlineError:
    """The error of a run that Ray ended."""
    return SightlineError(ErrorKind.ENGINE_UNAVAILABLE, f"Ray ended the work: {first_line(error)}")


def first_line(error: Exception) -> str:
    """The first line of an exception's text."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def outcome_table(found: list[Outcome]) -> pa.Table:
    """Outcomes as a table."""
    columns = {
        "block": pa.array([each.block.encode() for each in found], pa.large_binary()),
        "node": pa.array([each.node for each in found], pa.string()),
        "worker": pa.array([each.worker for each in found], pa.string()),
        "part": pa.array([each.part for each in found], pa.large_binary()),
        "kind": pa.array([each.fault and each.fault.kind.value for each in found], pa.string()),
        "message": pa.array([each.fault and each.fault.message for each in found], pa.string()),
    }
    return pa.table(columns)


def outcomes(table: pa.Table) -> Iterator[Outcome]:
    """The outcomes in a table."""
    for row in table.to_pylist():
        fault = Fault(ErrorKind(row["kind"]), row["message"]) if row["kind"] else None
        yield Outcome(Block.decode(row["block"]), row["node"], row["worker"], row["part"], fault)
