"""Installing the engine: what is pinned, what is refused, and what an interruption leaves."""

import json
import platform
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from sightline_server.cli.engine import app
from sightline_server.embedded import fitness, installation
from sightline_server.embedded import install as installer
from sightline_server.embedded.installation import BF16, CPU, CUDA, Installation, installation_of, requirements
from sightline_server.errors import ErrorKind, SightlineError


def quiet(text: str) -> None:
    """Swallows progress."""


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces fetching and assembling by leaving marks, on a CPU without bf16; returns the steps taken."""
    steps: list[str] = []
    monkeypatch.setattr(installer, "cpu_has_bf16", lambda: False)

    def fetch(python: Path, listed: str) -> None:
        steps.append("fetch")

    def assemble(made: Installation, folder: Path) -> None:
        steps.append("assemble")
        folder.mkdir(parents=True)

    monkeypatch.setattr(installer, "fetch_packages", fetch)
    monkeypatch.setattr(installer, "assemble_backends", assemble)
    return steps


def pinned(text: str) -> dict[str, str]:
    """Package -> version, of requirements that all carry a hash."""
    lines = [line for line in re.sub(r"#.*", "", text).replace("\\\n", " ").splitlines() if line.strip()]
    assert all(re.search(r"==\S+\s+--hash=sha256:[0-9a-f]{64}", line) for line in lines)
    return dict(line.split()[0].split("==") for line in lines)


def test_every_requirement_is_pinned_with_hashes() -> None:
    found = pinned(requirements(CPU))
    assert list(found) == ["nvidia-pytriton", "numpy", "onnxruntime", "flatbuffers", "packaging", "protobuf"]
    assert found["numpy"].startswith("1.")


def test_the_build_for_a_gpu_differs_in_onnx_runtime_and_nvidias_libraries_alone() -> None:
    cpu, cuda = pinned(requirements(CPU)), pinned(requirements(CUDA))
    bare = pinned(requirements(CUDA, nvidia=False))
    assert {name for name in cuda if name not in bare} >= {"nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-cuda-runtime"}
    assert {**bare, "onnxruntime": cpu["onnxruntime"]} == {**cpu, "onnxruntime-gpu": cuda["onnxruntime-gpu"]}


def test_the_build_with_bf16_adds_openvinos_provider_and_changes_nothing() -> None:
    cpu, bf16 = pinned(requirements(CPU)), pinned(requirements(BF16))
    assert set(bf16) - set(cpu) == {"onnxruntime-ep-openvino"}
    assert {name: bf16[name] for name in cpu} == cpu
    # Another distribution would own the module `onnxruntime` a second time.
    assert [name for name in bf16 if name.startswith("onnxruntime")] == ["onnxruntime", "onnxruntime-ep-openvino"]


@pytest.mark.parametrize(
    ("gpu", "bf16", "cpu_fits", "installed", "build"),
    [
        (None, None, False, None, CPU),
        (None, None, True, None, BF16),
        (None, None, True, CPU, CPU),
        (None, None, False, BF16, BF16),
        (None, True, True, CPU, BF16),
        (None, False, True, BF16, CPU),
        (False, None, True, CUDA, BF16),
        (None, True, False, CUDA, BF16),
        (True, None, True, CPU, CUDA),
    ],
)
def test_build_is_the_one_asked_for_or_installed_or_the_cpus(
    gpu: bool | None,
    bf16: bool | None,
    cpu_fits: bool,
    installed: str | None,
    build: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(installer, "cpu_has_bf16", lambda: cpu_fits)
    found = replace(installation.wanted_stamp(CPU), build=installed) if installed else None
    assert installer.wanted_build(gpu, bf16, found) == build


def test_bf16_with_a_gpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match="leave out --gpu or --bf16"):
        installer.install(tmp_path, gpu=True, bf16=True, progress=quiet)


def test_an_engine_keeps_its_build_until_another_is_asked_for(tmp_path: Path, offline: list[str]) -> None:
    assert not installer.install(tmp_path, progress=quiet).has_cuda
    assert installer.install(tmp_path, gpu=True, progress=quiet).has_cuda
    assert installer.install(tmp_path, progress=quiet).has_cuda
    assert installation_of(tmp_path).has_cuda
    assert offline == ["fetch", "assemble"] * 2
    assert not installer.install(tmp_path, gpu=False, progress=quiet).has_cuda
    assert offline == ["fetch", "assemble"] * 3


def test_an_engine_without_a_build_in_its_stamp_is_the_cpus(tmp_path: Path, offline: list[str]) -> None:
    installer.install(tmp_path, progress=quiet)
    stamp = tmp_path / "engine" / "stamp.json"
    stamp.write_text(json.dumps({k: v for k, v in json.loads(stamp.read_text()).items() if k != "build"}))
    assert not installation_of(tmp_path).has_cuda


def test_nvidias_libraries_are_on_the_library_path_of_a_build_that_has_them(tmp_path: Path) -> None:
    for name in ("cu13", "cudnn"):
        (tmp_path / "venv/lib/python3.11/site-packages/nvidia" / name / "lib").mkdir(parents=True)
    plain, cuda = (Installation(tmp_path, "3.11", "/lib", has_cuda) for has_cuda in (False, True))
    assert [Path(part).parts[-2] for part in cuda.library_path.split(":")[1:3]] == ["cu13", "cudnn"]
    assert plain.library_path.split(":") == [str(plain.site_packages / "nvidia_pytriton.libs"), "/lib"]


def test_installing_twice_does_the_work_once(tmp_path: Path, offline: list[str]) -> None:
    first = installer.install(tmp_path, progress=quiet)
    told: list[str] = []
    assert installer.install(tmp_path, progress=told.append) == first == installation_of(tmp_path)
    assert offline == ["fetch", "assemble"]
    assert told == [f"engine: up to date in {tmp_path / 'engine'}"]
    installer.install(tmp_path, force=True, progress=quiet)
    assert offline == ["fetch", "assemble"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine", "engine.lock"]


def test_a_changed_backend_alone_is_renewed_without_fetching(
    tmp_path: Path, offline: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installer.install(tmp_path, progress=quiet)
    monkeypatch.setattr(installation, "backend_sources", lambda: {"model.py": b"# newer"})
    with pytest.raises(SightlineError, match="another release"):
        installation_of(tmp_path)
    installer.install(tmp_path, progress=quiet)
    assert offline == ["fetch", "assemble", "assemble"]
    assert sorted(path.name for path in (tmp_path / "engine").iterdir()) == ["backends", "stamp.json", "venv"]


def test_an_interrupted_installation_leaves_nothing_and_the_next_one_starts_clean(
    tmp_path: Path, offline: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(python: Path, listed: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(installer, "fetch_packages", interrupt)
        with pytest.raises(KeyboardInterrupt):
            installer.install(tmp_path, progress=quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["engine.lock"]
    # A killed one cannot tidy up.
    (tmp_path / "engine.partial-1" / "venv").mkdir(parents=True)
    installer.install(tmp_path, progress=quiet)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine", "engine.lock"]


def test_a_failed_reinstallation_keeps_the_engine_that_was_there(
    tmp_path: Path, offline: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = installer.install(tmp_path, progress=quiet)

    def fail(python: Path, listed: str) -> None:
        raise SightlineError(ErrorKind.CONFIGURATION, "no network")

    monkeypatch.setattr(installer, "fetch_packages", fail)
    with pytest.raises(SightlineError, match="no network"):
        installer.install(tmp_path, force=True, progress=quiet)
    assert installation_of(tmp_path) == before


@pytest.mark.parametrize(
    ("target", "name", "value", "words"),
    [
        (sys, "platform", "darwin", "Linux on x86-64"),
        (platform, "machine", lambda: "aarch64", "Linux on x86-64"),
        (sys, "version_info", SimpleNamespace(major=3, minor=13), "Python 3.11 or 3.12"),
        (sys, "base_prefix", "/home/jürgen/python", "whose path is ASCII, this one is in /home/jürgen/python"),
        (fitness, "glibc_version", lambda: (2, 31), r"glibc 2\.35"),
        (fitness, "libpython_dir", lambda: "", "shared library"),
        (shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000), "1 MB free"),
    ],
)
def test_what_is_in_the_way_is_named_with_the_way_around(
    target: object, name: str, value: object, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "version_info":
        value = type("Version", (tuple,), {"major": 3, "minor": 13})((3, 13, 0))
    monkeypatch.setattr(target, name, value)
    with pytest.raises(SightlineError, match=words) as caught:
        fitness.check_machine(tmp_path)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert "--triton-url" in caught.value.message


def test_without_an_engine_the_message_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match="sightline engine install"):
        installation_of(tmp_path)


def test_the_command_installs_and_reports_failures_with_exit_code_1(
    tmp_path: Path, offline: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = CliRunner().invoke(app, ["install", "--home", str(tmp_path)])
    assert done.exit_code == 0
    assert "installed in" in done.output

    def unfit() -> list[str]:
        return ["it has no wheels"]

    monkeypatch.setattr(fitness, "unfit_machine", unfit)
    failed = CliRunner().invoke(app, ["install", "--force"], env={"SIGHTLINE_HOME": str(tmp_path)})
    assert failed.exit_code == 1
    assert "it has no wheels" in failed.output
