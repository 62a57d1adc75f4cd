"""The start of tritonserver: its addresses, its command line and its environment.

Rule: nothing of the server's environment reaches the engine unless it is named here. It may hold credentials.
"""

import os
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sightline_server.domain.address import Address, TcpAddress, UnixAddress
from sightline_server.embedded.devices import DRIVER_FOLDERS
from sightline_server.embedded.installation import Installation
from sightline_server.triton.sharing import StubMemory

ON_GPU = "SIGHTLINE_ON_GPU"
IN_BF16 = "SIGHTLINE_BF16"

SOCKET = "triton"
"""Name of the socket in the runtime folder, before the number that Triton appends."""
SOCKET_NUMBER = 1
"""The suffix that Triton appends to the name of its socket: it accepts no socket without a port number."""
INHERITED = re.compile(
    "HOME|USER|LOGNAME|TMPDIR|TZ|LANG|LANGUAGE|LC_[A-Z]+"
    "|(CUDA|NVIDIA|CUDNN|CUBLAS|NCCL|TF32|NV)_[A-Z0-9_]+"
    "|(OMP|GOMP|KMP|MKL|OPENBLAS)_[A-Z0-9_]+"
)
"""Variables of the server's environment that the engine gets: folders, languages, devices and threads."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The addresses of Triton: ports of 127.0.0.1, or a Unix socket for gRPC."""

    grpc: int
    """Port of the gRPC service; with `socket` the number at the end of its path."""

    metrics: int
    """Port of Triton's metrics; 0 for none."""

    socket: Path | None = None
    """Path of the Unix socket of the gRPC service, without `:GRPC`; only this user may enter its folder."""

    @property
    def address(self) -> Address:
        """The address of the gRPC service."""
        return UnixAddress(f"{self.socket}:{self.grpc}") if self.socket else TcpAddress("127.0.0.1", self.grpc)

    @property
    def metrics_url(self) -> str:
        """The address of the metrics; empty for none."""
        return f"http://127.0.0.1:{self.metrics}/metrics" if self.metrics else ""


def free_ports() -> Ports:
    """Two ports that are free now; somebody may take one before Triton does."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return Ports(first.getsockname()[1], second.getsockname()[1])


def is_free(port: int) -> bool:
    """Returns whether `port` of 127.0.0.1 can be listened on now."""
    with socket.socket() as tried:
        # Connections that have ended keep nobody from listening.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def private_ports(folder: Path, metrics: int | None) -> Ports:
    """A socket in `folder`, and `metrics`: None for no metrics, 0 for a free port, else that port."""
    return Ports(SOCKET_NUMBER, free_ports().metrics if metrics == 0 else metrics or 0, folder / SOCKET)


def command_line(
    installation: Installation,
    repository: Path,
    models: tuple[str, ...],
    ports: Ports,
    prefix: str,
    memory: StubMemory,
) -> list[str]:
    """The command of tritonserver: these models only, reached by `ports` and by nothing else."""
    told = ["--allow-metrics=true", "--metrics-address=127.0.0.1", f"--metrics-port={ports.metrics}"]
    return [
        str(installation.tritonserver),
        f"--model-repository={repository}",
        f"--backend-directory={installation.backends}",
        "--model-control-mode=explicit",
        *(f"--load-model={model}" for model in models),
        "--allow-http=false",
        f"--grpc-address={f'unix:{ports.socket}' if ports.socket else '127.0.0.1'}",
        f"--grpc-port={ports.grpc}",
        *(told if ports.metrics else ["--allow-metrics=false"]),
        "--exit-timeout-secs=2",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        f"--backend-config=python,shm-default-byte-size={memory.initial}",
        f"--backend-config=python,shm-growth-byte-size={memory.growth}",
    ]


def environment(
    installation: Installation, cores: str = "", *, gpu: bool, bf16: Collection[str] = ()
) -> dict[str, str]:
    """The engine's environment variables: its own Python first, and of the server's those that `INHERITED` names.

    `cores` are the `SharedCores.paths` of models that share the machine, `bf16` the models that run in bf16.
    """
    kept = {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)}
    kept["SIGHTLINE_CORES"] = cores
    if bf16:
        # Read by our backend in the stubs.
        kept[IN_BF16] = ":".join(sorted(bf16))
    # ONNX Runtime sends telemetry otherwise, and starts to do so when a stub loads it; docs/operate/privacy.md.
    kept["ORT_DISABLE_TELEMETRY"] = "1"
    # NVIDIA's DCGM, which Triton loads for the metrics of GPUs, writes /var/log/nv-hostengine.log otherwise.
    kept["__DCGM_DBG_LVL"] = "NONE"
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
