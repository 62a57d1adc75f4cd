"""The engine's device: by the setting, the driver and the installation; and the variables that the engine gets."""

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sightline_server.embedded.command import ON_GPU, environment
from sightline_server.embedded.devices import LIBRARY, Device, Driver, find_driver, runs_on_gpu
from sightline_server.embedded.installation import Installation
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import Settings


def libcuda(*, version: int, gpus: int, initialised: int = 0) -> SimpleNamespace:
    """A driver's library, as far as it is asked."""

    def put(place: Any, value: int) -> int:
        place._obj.value = value
        return 0

    return SimpleNamespace(
        cuDriverGetVersion=lambda place: put(place, version),
        cuInit=lambda flags: initialised,
        cuDeviceGetCount=lambda place: put(place, gpus),
    )


@pytest.mark.parametrize(
    ("library", "driver"),
    [
        (libcuda(version=13000, gpus=1), Driver((13, 0), 1)),
        (libcuda(version=12060, gpus=8), Driver((12, 6), 8)),
        (libcuda(version=13020, gpus=4, initialised=100), Driver((13, 2), 0)),
    ],
)
def test_the_driver_says_its_cuda_version_and_its_gpus(library: SimpleNamespace, driver: Driver) -> None:
    assert find_driver(lambda name: library) == driver


def test_the_driver_is_also_looked_for_where_containers_put_it() -> None:
    def load(name: str) -> SimpleNamespace:
        if name == LIBRARY:
            raise OSError(name)
        return libcuda(version=13000, gpus=1)

    assert find_driver(load) == Driver((13, 0), 1)


def test_no_driver_is_no_driver() -> None:
    def load(name: str) -> ctypes.CDLL:
        raise OSError(name)

    assert find_driver(load) is None


@pytest.mark.parametrize(
    ("device", "has_cuda", "driver", "gpu"),
    [
        (Device.CPU, True, Driver((13, 0), 1), False),
        (Device.AUTO, True, Driver((13, 0), 1), True),
        (Device.AUTO, False, Driver((13, 0), 1), False),
        (Device.AUTO, True, Driver((13, 0), 0), False),
        (Device.AUTO, True, None, False),
        (Device.GPU, True, Driver((13, 0), 1), True),
    ],
)
def test_a_gpu_is_taken_where_all_is_there_for_it(
    device: Device, has_cuda: bool, driver: Driver | None, gpu: bool
) -> None:
    assert runs_on_gpu(device, engine_has_cuda=has_cuda, driver=lambda: driver) is gpu


@pytest.mark.parametrize(
    ("has_cuda", "driver", "words"),
    [
        (False, Driver((13, 0), 1), "engine install --gpu"),
        (True, None, "libcuda"),
        (True, Driver((13, 0), 0), "no GPU"),
    ],
)
def test_gpu_means_a_gpu_or_no_engine(has_cuda: bool, driver: Driver | None, words: str) -> None:
    with pytest.raises(SightlineError, match=words) as caught:
        runs_on_gpu(Device.GPU, engine_has_cuda=has_cuda, driver=lambda: driver)
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_every_device_of_the_settings_is_one_of_the_engine() -> None:
    assert {Device(name) for name in ("auto", "cpu", "gpu")} == set(Device)
    assert Device(Settings().engine.device) is Device.AUTO


def test_an_engine_on_the_cpu_sees_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    told = environment(Installation(tmp_path, "3.11", "/lib"), gpu=False)
    assert told["CUDA_VISIBLE_DEVICES"] == ""
    assert ON_GPU not in told


def test_an_engine_on_a_gpu_is_told_so_and_finds_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/local/nvidia/lib64::/opt/cuda")
    installation = Installation(tmp_path, "3.11", "/lib", has_cuda=True)
    told = environment(installation, gpu=True)
    assert told["CUDA_VISIBLE_DEVICES"] == "1"
    assert told[ON_GPU]
    assert told["LD_LIBRARY_PATH"].startswith(installation.library_path)
    assert told["LD_LIBRARY_PATH"].split(":")[2:4] == ["/usr/local/nvidia/lib64", "/opt/cuda"]
