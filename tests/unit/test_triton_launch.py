"""The launcher: what the engine inherits, and that it does not outlive a server that is already gone."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.orphans import PARENT_GONE
from sightline_server.triton import launch
from sightline_server.triton.command import Ports
from sightline_server.triton.installation import Installation
from sightline_server.triton.process import TritonProcess

SHOW = """
import ctypes, os, resource
number = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0, 0, 0)
print(os.getpid(), number.value, resource.getrlimit(resource.RLIMIT_CORE), oct(os.umask(0)))
"""


def launched(parent: int, command: list[str]) -> "subprocess.Popen[str]":
    """The launcher on `command`, told that `parent` is the server."""
    assert launch.__file__
    words = [sys.executable, "-I", "-S", launch.__file__, str(parent), *command]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_the_engine_dies_with_the_server_writes_no_core_and_keeps_its_files_private() -> None:
    process = launched(os.getpid(), [sys.executable, "-c", SHOW])
    said, _ = process.communicate()
    assert said.split(maxsplit=1) == [str(process.pid), f"{signal.SIGKILL.value} (0, 0) 0o77\n"]


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
