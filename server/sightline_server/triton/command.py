"""What tritonserver is started with: its ports, its command line and its environment."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from sightline_server.triton.devices import DRIVER_FOLDERS
from sightline_server.triton.installation import Installation
from sightline_server.triton.sharing import StubMemory

ON_GPU = "SIGHTLINE_ON_GPU"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the engine listens, on 127.0.0.1."""

    grpc: int
    metrics: int


def free_ports() -> Ports:
    """Two ports that are free now; somebody may take one before the engine does, then starting is tried again."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return Ports(first.getsockname()[1], second.getsockname()[1])


def command_line(
    installation: Installation,
    repository: Path,
    models: tuple[str, ...],
    ports: Ports,
    prefix: str,
    memory: StubMemory,
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
        f"--backend-config=python,shm-default-byte-size={memory.initial}",
        f"--backend-config=python,shm-growth-byte-size={memory.growth}",
    ]


def environment(installation: Installation, cores: str = "", *, gpu: bool) -> dict[str, str]:
    """The engine's environment variables: its own Python first, nothing of ours that would lead its stubs astray.

    `cores` are the `SharedCores.paths` of models that share the machine.
    """
    kept = {name: value for name, value in os.environ.items() if not leads_astray(name)}
    kept["SIGHTLINE_CORES"] = cores
    # ONNX Runtime sends telemetry otherwise, and starts to do so when a stub loads it; docs/privacy.md.
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


def leads_astray(name: str) -> bool:
    """Whether the engine must not inherit the variable: other Pythons, other libraries, proxies."""
    return name.startswith(("PYTHON", "LD_")) or name.lower().endswith("_proxy")


def library_path(installation: Installation, *, gpu: bool) -> str:
    """`LD_LIBRARY_PATH`: the installation's folders; for a GPU also those that lead to the driver and to CUDA here."""
    folders = [installation.library_path]
    if gpu:
        given = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
        folders += [*given, *(str(folder) for folder in DRIVER_FOLDERS if folder.is_dir())]
    return ":".join(dict.fromkeys(folders))
