"""The GPU itself, through NVIDIA's driver library alone: what it is, how full it is, how fast its memory moves.

Rule: plain allocations only, freed in the same call. No CUDA toolkit, no torch: libcuda comes with the driver.
"""

import ctypes
import time
from dataclasses import dataclass
from typing import Any

from sightline_server.embedded.devices import DRIVER_FOLDERS, LIBRARY, first_library

MULTIPROCESSORS, CLOCK_KHZ, MAJOR, MINOR = 16, 13, 75, 76
"""Numbers of CUdevice_attribute."""

FP32_LANES = {(7, 0): 64, (7, 5): 64, (8, 0): 64, (8, 6): 128, (8, 9): 128, (9, 0): 128, (10, 0): 128, (12, 0): 128}
"""Fused multiply-adds of float32 a clock and multiprocessor, by compute capability (CUDA C++ Programming Guide)."""
FP16_TENSOR = {(7, 0): 512, (7, 5): 512, (8, 0): 1024, (8, 6): 512, (8, 9): 512, (9, 0): 2048, (10, 0): 4096}
"""The same of the tensor cores with dense float16; TF32 is half of it from 8.0 on."""


class CudaError(Exception):
    """The driver refused; the message names the call."""


@dataclass(frozen=True, slots=True)
class Peak:
    """Operations a second by the datasheet's way of counting; None where the architecture is not in the table."""

    fp32: float | None
    tf32: float | None
    fp16: float | None


class Gpu:
    """GPU 0, with its primary context, which FAISS and ONNX Runtime share."""

    def __init__(self) -> None:
        self._cuda: Any = first_library(ctypes.CDLL, (LIBRARY, *(str(folder / LIBRARY) for folder in DRIVER_FOLDERS)))
        if self._cuda is None:
            raise CudaError(f"{LIBRARY} cannot be loaded")
        self._call("cuInit", 0)
        self._device, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._call("cuCtxSetCurrent", context)

    def _call(self, name: str, *arguments: Any) -> None:
        if (code := getattr(self._cuda, name)(*arguments)) != 0:
            raise CudaError(f"{name} failed with {code}")

    def attribute(self, number: int) -> int:
        """One CUdevice_attribute."""
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), number, self._device)
        return value.value

    @property
    def capability(self) -> tuple[int, int]:
        """The compute capability, such as (9, 0)."""
        return self.attribute(MAJOR), self.attribute(MINOR)

    def used_bytes(self) -> int:
        """Memory in use by everybody."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return total.value - free.value

    def total_bytes(self) -> int:
        """The memory that the driver gives out."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return total.value

    def copy_bytes_per_s(self, size: int = 4 << 30, turns: int = 10) -> float:
        """Bytes read and written a second by a copy within the memory, the best of three."""
        places = [ctypes.c_uint64(), ctypes.c_uint64()]
        try:
            for place in places:
                self._call("cuMemAlloc_v2", ctypes.byref(place), ctypes.c_size_t(size))
            return max(self._copies(places, size, turns) for _ in range(3))
        finally:
            for place in places:
                if place.value:
                    self._call("cuMemFree_v2", place)

    def _copies(self, places: list[ctypes.c_uint64], size: int, turns: int) -> float:
        self._call("cuCtxSynchronize")
        begun = time.perf_counter()
        for _ in range(turns):
            self._call("cuMemcpyDtoDAsync_v2", places[0], places[1], ctypes.c_size_t(size), None)
        self._call("cuCtxSynchronize")
        return 2 * size * turns / (time.perf_counter() - begun)

    def peak(self) -> Peak:
        """Operations a second of the multiprocessors at their highest clock."""
        return peak(self.capability, self.attribute(MULTIPROCESSORS), self.attribute(CLOCK_KHZ) * 1e3)


def peak(capability: tuple[int, int], multiprocessors: int, clock_hz: float) -> Peak:
    """Two operations for each fused multiply-add."""
    ticks = 2.0 * multiprocessors * clock_hz
    lanes, tensor = FP32_LANES.get(capability), FP16_TENSOR.get(capability)
    half = ticks * tensor if tensor else None
    return Peak(
        fp32=ticks * lanes if lanes else None,
        tf32=half / 2 if half and capability >= (8, 0) else None,
        fp16=half,
    )
