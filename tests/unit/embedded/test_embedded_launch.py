"""The launcher: what the engine inherits, and that it does not outlive a server that is already gone."""

import asyncio
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sightline_server.embedded import file_modes, launch
from sightline_server.embedded.command import Ports
from sightline_server.embedded.installation import Installation
from sightline_server.embedded.process import TritonProcess
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.orphans import PARENT_GONE
from tests.support.users import as_other, open_folder

SHOW = """
import ctypes, os, resource
number = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0, 0, 0)
print(os.getpid(), number.value, resource.getrlimit(resource.RLIMIT_CORE), oct(os.umask(0)))
"""

WIDEN = """
import os
file = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o644)
os.fchmod(file, 0o644)
print(oct(os.fstat(file).st_mode & 0o777))
"""


def launched(
    parent: int, command: list[str], *prefix: str, folder: Path | None = None, **variables: str
) -> "subprocess.Popen[str]":
    """The launcher on `command` in `folder`, with `parent` as its server; `prefix` becomes the launcher."""
    assert launch.__file__
    words = [*prefix, sys.executable, "-I", "-S", launch.__file__, str(parent), *command]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=folder, env={**os.environ, **variables})


def test_the_engine_dies_with_the_server_writes_no_core_and_keeps_its_files_private() -> None:
    process = launched(os.getpid(), [sys.executable, "-c", SHOW])
    said, _ = process.communicate()
    assert said.split(maxsplit=1) == [str(process.pid), f"{signal.SIGKILL.value} (0, 0) 0o77\n"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 only, as the embedded engine")
def test_no_file_of_the_engine_becomes_readable_to_others(tmp_path: Path) -> None:
    """Boost gives the stubs' shared memory mode 0644, whatever the umask says."""
    said, _ = launched(os.getpid(), [sys.executable, "-c", WIDEN], folder=tmp_path).communicate()
    assert said == "0o600\n"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 only, as the embedded engine")
@pytest.mark.parametrize(("on_gpu", "mode"), [("", "0o600"), ("1", "0o644")], ids=["cpu", "gpu without device files"])
def test_launch_without_privileges_keeps_files_private_except_on_gpu(on_gpu: str, mode: str) -> None:
    if on_gpu and os.path.exists("/dev/nvidia-uvm"):
        pytest.skip("the device files are there")
    command = [sys.executable, "-c", WIDEN]
    with open_folder() as folder:
        folder.chmod(0o777)
        process = launched(os.getpid(), command, *as_other(), folder=folder, **{file_modes.ON_GPU: on_gpu})
        said, _ = process.communicate()
    assert said == f"{mode}\n"


def test_nothing_is_started_for_a_server_that_is_already_gone(tmp_path: Path) -> None:
    mark = tmp_path / "started"
    process = launched(1 if os.getpid() != 1 else 2, ["/usr/bin/touch", str(mark)])
    process.communicate()
    assert process.returncode == PARENT_GONE
    assert not mark.exists()


async def test_only_the_main_thread_may_start_the_engine(tmp_path: Path) -> None:
    process = TritonProcess(Installation(tmp_path, "3.11", ""), tmp_path, (), Ports(1, 2), "sightline-none-")
    with pytest.raises(SightlineError, match="main thread") as caught:
        await asyncio.to_thread(process.start)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert process.pid == 0
