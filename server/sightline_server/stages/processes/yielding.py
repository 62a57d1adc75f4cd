"""The priority of a decode process: it yields to the event loop and to the models, and is not starved.

A lower priority alone is not enough. The threads of a model wait for each other some hundred times in a run, and since
Linux 6.6 a thread that wakes up waits until the slice of a process with a lower priority has ended, about 3 ms.
"""

import ctypes
import os
import platform
import struct
import sys

NICER_BY = 10
"""Niceness. The models are nicer by 5 than the event loop, so a decode process gets a quarter of a core that a model
wants, and all of an idle one."""
SLICE_NS = 100_000
"""The shortest slice of time that Linux allows."""
SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""Machine -> the number of the system call sched_setattr(2)."""
ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""`struct sched_attr`: size, policy, flags, nice, priority, runtime, deadline, period."""


def yield_to_others() -> None:
    """Lowers the priority of this process, and shortens its slices where Linux can do so (6.12 and later)."""
    nice = os.nice(NICER_BY)
    call = SCHED_SETATTR.get(platform.machine())
    if sys.platform == "linux" and call is not None:
        wanted = ATTRIBUTES.pack(ATTRIBUTES.size, 0, 0, nice, 0, SLICE_NS, 0, 0)
        # Older kernels take the call and keep their slices.
        ctypes.CDLL(None).syscall(call, 0, ctypes.c_char_p(wanted), 0)
