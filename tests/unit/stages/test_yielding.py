"""The priority of decode processes."""

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from sightline_server.stages.processes.yielding import ATTRIBUTES, NICER_BY, SCHED_SETATTR, SLICE_NS

REPORT = """
import ctypes, os
from sightline_server.stages.processes.yielding import ATTRIBUTES, SCHED_SETATTR, yield_to_others
import platform
yield_to_others()
found = ctypes.create_string_buffer(ATTRIBUTES.size)
assert ctypes.CDLL(None).syscall(SCHED_SETATTR[platform.machine()] + 1, 0, found, ATTRIBUTES.size, 0) == 0
values = ATTRIBUTES.unpack(found.raw)
print(os.getpriority(os.PRIO_PROCESS, 0), values[3], values[5])
"""


@pytest.mark.skipif(platform.machine() not in SCHED_SETATTR, reason="the system call's number is not known here")
def test_a_decode_process_is_nicer_and_has_short_slices_where_linux_has_them() -> None:
    done = subprocess.run([sys.executable, "-c", REPORT], capture_output=True, text=True, check=True)
    nice, attribute, slice_ns = map(int, done.stdout.split())
    assert nice == attribute == min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICER_BY)
    if tuple(map(int, platform.release().split(".")[:2])) >= (6, 12):
        assert slice_ns == SLICE_NS


def test_the_attributes_are_those_of_linux() -> None:
    assert ATTRIBUTES.size == 48, "SCHED_ATTR_SIZE_VER0"
    assert ctypes.sizeof(ctypes.c_char_p) == 8
