"""Becomes the engine: `python launch.py PARENT COMMAND...`, run by file so that it starts in a few milliseconds.

Between fork and exec of tritonserver stand settings that the server must not make in itself: die with the server
(PR_SET_PDEATHSIG), no core dumps (a core holds pixels), private files that stay private, a lower priority, and a check
that the server is still there.
Rule: it imports nothing but the interpreter's own modules and orphans.py, which does the same. The caller makes the
process group, and starts it from its main thread: the death signal fires when the *thread* that forked ends.
"""

import ctypes
import os
import platform
import resource
import struct
import sys

# Run by file and isolated, so that it starts in a few milliseconds; our own package is still where this file is.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from sightline_server.orphans import die_with

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER_AT, ARCHITECTURE_AT = 0, 4
"""Offsets in `struct seccomp_data`, see seccomp(2)."""
X86_64, FCHMOD = 0xC000003E, 91
SUCCEED_WITHOUT_CALL, ALLOW = 0x00050000, 0x7FFF0000
CORES = "SIGHTLINE_CORES"
"""Variable with the files by which the models share the cores (cores.py): this process inherits them."""
ON_GPU = "SIGHTLINE_ON_GPU"
NICER_BY = 5
"""On a machine whose cores are all busy the models yield to the server's event loop, so that a refusal is not late."""


def main(arguments: list[str]) -> None:
    """Ties this process to PARENT and becomes COMMAND; exits with 70 when PARENT is already gone."""
    parent, command = int(arguments[0]), arguments[1:]
    die_with(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    ignore_fchmod()
    os.nice(NICER_BY)
    os.environ[CORES] = os.environ.get(CORES, "").replace("/proc/self/", f"/proc/{os.getpid()}/")
    os.execv(command[0], command)  # noqa: S606 (a list, and no shell)


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


if __name__ == "__main__":
    main(sys.argv[1:])
