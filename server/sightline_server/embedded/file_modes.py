"""Files of the engine that stay private: a seccomp filter by which fchmod(2) does nothing.

Rule: standard library only, because the launcher loads this file by itself.
"""

import ctypes
import os
import platform
import struct

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER_AT, ARCHITECTURE_AT = 0, 4
"""Offsets in `struct seccomp_data`, see seccomp(2)."""
X86_64, FCHMOD = 0xC000003E, 91
SUCCEED_WITHOUT_CALL, ALLOW = 0x00050000, 0x7FFF0000
ON_GPU = "SIGHTLINE_ON_GPU"
"""Variable of an engine that runs on a GPU (command.py)."""


def ignore_fchmod() -> None:
    """Makes fchmod(2) succeed without an effect in this process and all that it starts, so that the umask is final.

    Triton's stubs make their shared memory through Boost, which sets mode 0644 against the umask: another user who
    opens such a file in the moment before the server unlinks it could read all photos from then on. Nothing happens
    where the kernel has no such filter, and where it would keep the driver of a GPU from making its device files.
    """
    if platform.machine() != "x86_64":
        return
    library = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program())
    filters = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program()) // 8, ctypes.addressof(code)))
    if library.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filters, 0, 0) == 0:
        return
    # Without CAP_SYS_ADMIN the kernel first wants that no setuid program gains rights, nvidia-modprobe included.
    if os.environ.get(ON_GPU) and not os.path.exists("/dev/nvidia-uvm"):
        return
    library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    library.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filters, 0, 0)


def program() -> bytes:
    """The filter as an array of `struct sock_filter`: jumps count the instructions that they skip."""
    instructions = (
        (LOAD_WORD, 0, 0, ARCHITECTURE_AT),
        (JUMP_IF_EQUAL, 0, 3, X86_64),
        (LOAD_WORD, 0, 0, NUMBER_AT),
        (JUMP_IF_EQUAL, 0, 1, FCHMOD),
        (RETURN, 0, 0, SUCCEED_WITHOUT_CALL),
        (RETURN, 0, 0, ALLOW),
    )
    return b"".join(struct.pack("HBBI", *each) for each in instructions)
