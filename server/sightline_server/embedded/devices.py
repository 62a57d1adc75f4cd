"""The device that the embedded engine runs on: what was asked for, and what driver and installation give.

Rule: `gpu` means a GPU or no engine, `auto` a GPU where all is there for it. The driver is asked through libcuda alone:
no context is made, no memory taken, and nothing but the standard library is needed.
"""

import ctypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sightline_server.errors import ErrorKind, SightlineError

LIBRARY = "libcuda.so.1"
DRIVER_FOLDERS = (Path("/usr/local/nvidia/lib64"), Path("/usr/lib/wsl/lib"))
"""The folders in which containers and WSL put the driver's library; the loader does not always know of it."""


class Device(StrEnum):
    """The values of `engine.device`."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Driver:
    """NVIDIA's driver: the highest CUDA version that it speaks, such as (13, 0), and the GPUs that it shows."""

    cuda: tuple[int, int]
    gpus: int


def find_driver(load: Callable[[str], Any] = ctypes.CDLL) -> Driver | None:
    """The machine's driver; None where there is none. `CUDA_VISIBLE_DEVICES` counts."""
    library = first_library(load, (LIBRARY, *(str(folder / LIBRARY) for folder in DRIVER_FOLDERS)))
    number, gpus = ctypes.c_int(), ctypes.c_int()
    if library is None or library.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return None
    if library.cuInit(0) == 0:
        library.cuDeviceGetCount(ctypes.byref(gpus))
    return Driver((number.value // 1000, number.value % 1000 // 10), gpus.value)


def first_library(load: Callable[[str], Any], names: Iterable[str]) -> Any:
    """The first library that loads; None where none does."""
    for name in names:
        try:
            return load(name)
        except OSError:
            continue
    return None


def runs_on_gpu(device: Device, *, engine_has_cuda: bool, driver: Callable[[], Driver | None] = find_driver) -> bool:
    """Returns whether the engine is to be started on a GPU. Raises CONFIGURATION when `gpu` cannot be had."""
    if device is Device.CPU:
        return False
    if not engine_has_cuda:
        return refuse(device, "the engine has the CPU build of ONNX Runtime; run `sightline engine install --gpu`")
    found = driver()
    if found is None:
        return refuse(device, f"NVIDIA's driver ({LIBRARY}) is not installed")
    if not found.gpus:
        return refuse(device, "NVIDIA's driver shows no GPU; see `nvidia-smi` and CUDA_VISIBLE_DEVICES")
    return True


def refuse(device: Device, why: str) -> bool:
    """No GPU: False for `auto`, an error for `gpu`."""
    if device is Device.GPU:
        raise SightlineError(ErrorKind.CONFIGURATION, f"engine.device is gpu, but {why}")
    return False
