"""Driver against wheels: what runs, what does not, and how a wheel says what it wants."""

import zipfile
from pathlib import Path

import pytest

from load_tests.gpu.driver import Version, asked_by_wheels, judge, runtime_of
from sightline_server.embedded.devices import Driver


@pytest.mark.parametrize(
    ("requirements", "version"),
    [
        (["numpy>=1.25", "nvidia-cuda-runtime-cu12<13,>=12.6"], (12, 6)),
        (["nvidia-cuda-runtime<14,>=13.2"], (13, 2)),
        (['nvidia-cuda-runtime~=13.0; extra == "cuda"'], (13, 0)),
        (["nvidia-cuda-runtime (>=13.2,<14)"], (13, 2)),
        (["nvidia-cublas<14,>=13.2", "numpy"], None),
        ([], None),
    ],
)
def test_a_package_says_its_cuda_version_by_the_runtime_that_it_requires(
    requirements: list[str], version: Version | None
) -> None:
    assert runtime_of(requirements) == version


@pytest.mark.parametrize(
    ("driver", "asked", "fits", "words"),
    [
        (Driver((13, 0), 1), {"faiss-gpu": (12, 6)}, True, "CUDA 13.0"),
        (Driver((13, 0), 1), {"faiss-gpu-cuvs": (13, 2)}, True, "newer within the same major version"),
        (Driver((12, 8), 1), {"faiss-gpu": (12, 6)}, True, "CUDA 12.8"),
        (
            Driver((12, 8), 1),
            {"faiss-gpu": (12, 6), "onnxruntime-gpu": (13, 0)},
            False,
            "onnxruntime-gpu needs CUDA 13.0",
        ),
        (Driver((12, 8), 1), {"onnxruntime-gpu": (13, 0)}, False, "CUDA 13: 580"),
        (Driver((13, 0), 0), {"faiss-gpu": (12, 6)}, False, "shows no GPU"),
        (None, {}, False, "--cpu"),
        (Driver((13, 0), 2), {}, True, "asked: nothing"),
    ],
)
def test_a_driver_runs_its_own_major_version_and_older_ones(
    driver: Driver | None, asked: dict[str, Version], fits: bool, words: str
) -> None:
    verdict = judge(driver, asked)
    assert verdict.fits is fits
    assert words in verdict.text


def test_wheels_are_read_as_they_lie(tmp_path: Path) -> None:
    for name, wants in (("faiss_gpu", "nvidia-cuda-runtime-cu12<13,>=12.6"), ("numpy", "nvidia-cuda-runtime>=9.0")):
        with zipfile.ZipFile(tmp_path / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Name: {name}\nRequires-Dist: {wants}\n")
    assert asked_by_wheels(tmp_path) == {"faiss-gpu": (12, 6)}
