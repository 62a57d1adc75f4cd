"""Becomes a command under the system call rules of a systemd unit: `python unit_sandbox.py UNIT COMMAND...`

systemd itself cannot run in a test; what its unit forbids by seccomp can be forbidden all the same. Read from the unit:
SystemCallFilter=, SystemCallErrorNumber=, RestrictAddressFamilies= and MemoryDenyWriteExecute=, in systemd's meaning,
with its own lists of calls (`systemd-analyze syscall-filter`). Rule: run by file, so that nothing else is loaded.
"""

import ctypes
import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LIBRARY = "libseccomp.so.2"
ALLOW = 0x7FFF0000
ERRNO = 0x00050000
EQUAL, MASKED_EQUAL = 4, 7
"""Comparisons of libseccomp: the argument is the value; the argument masked with the value is the second value."""
GREATER = 6
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
HIGHEST_FAMILY = 64


class Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def is_possible() -> bool:
    """Returns whether this machine has libseccomp and systemd's lists."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return shutil.which("systemd-analyze") is not None


class Filter:
    """One seccomp filter; calls without a rule get `default`."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL(LIBRARY)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def rule(self, action: int, name: str, *comparisons: tuple[int, int, int, int]) -> None:
        """`action` for the call `name` where all comparisons (argument, operator, first, second) hold."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        array = (Comparison * len(comparisons))(*(Comparison(*each) for each in comparisons))
        # Calls of other machines, and those that libseccomp does not know yet, have numbers below 0.
        if number >= 0:
            done = self._library.seccomp_rule_add_array(
                self._context, ctypes.c_uint32(action), number, len(comparisons), array
            )
            if done:
                raise OSError(-done, f"no rule for {name}")

    def load(self) -> None:
        """Applies the filter to this process and all that come from it."""
        if failed := self._library.seccomp_load(self._context):
            raise OSError(-failed, "seccomp")


def options(unit: Path) -> dict[str, list[str]]:
    """Every option of the unit with its values in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith(("#", ";")):
            found.setdefault(name.strip(), []).append(value.strip())
    return found


def systemd_sets() -> dict[str, list[str]]:
    """systemd's named sets of calls, which hold calls and other sets."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    sets: dict[str, list[str]] = {}
    for line in listed.splitlines():
        if line.startswith("@"):
            sets[line.strip()] = members = []
        elif line.strip() and not line.strip().startswith("#"):
            members.append(line.strip())
    return sets


def calls(name: str, sets: dict[str, list[str]]) -> Iterator[str]:
    """The calls that `name`, a call or a set, stands for."""
    if name.startswith("@"):
        for member in sets[name]:
            yield from calls(member, sets)
    else:
        yield name


def allowed_calls(lines: list[str]) -> set[str]:
    """The system calls that SystemCallFilter= lines allow: each list adds calls or, after ~, removes them."""
    sets = systemd_sets()
    allowed: set[str] = set()
    for line in lines:
        named = {call for word in line.removeprefix("~").split() for call in calls(word, sets)}
        allowed = allowed - named if line.startswith("~") else allowed | named
    # systemd always allows what a process needs to begin.
    return allowed | set(calls("@default", sets)) if lines else set()


def filter_calls(unit: dict[str, list[str]]) -> None:
    """Applies SystemCallFilter=."""
    [name] = unit.get("SystemCallErrorNumber", ["EPERM"])
    if allowed := allowed_calls(unit.get("SystemCallFilter", [])):
        made = Filter(ERRNO | getattr(errno, name))
        for call in sorted(allowed):
            made.rule(ALLOW, call)
        made.load()


def filter_families(unit: dict[str, list[str]]) -> None:
    """Applies RestrictAddressFamilies=."""
    if lines := unit.get("RestrictAddressFamilies", []):
        allowed = {int(getattr(socket, name)) for line in lines for name in line.split()}
        made = Filter(ALLOW)
        refuse = ERRNO | errno.EAFNOSUPPORT
        for family in set(range(HIGHEST_FAMILY)) - allowed:
            made.rule(refuse, "socket", (0, EQUAL, family, 0))
        made.rule(refuse, "socket", (0, GREATER, HIGHEST_FAMILY - 1, 0))
        made.load()


def filter_executable_memory(unit: dict[str, list[str]]) -> None:
    """Applies MemoryDenyWriteExecute=."""
    if unit.get("MemoryDenyWriteExecute") == ["yes"]:
        made = Filter(ALLOW)
        both, refuse = PROT_WRITE | PROT_EXEC, ERRNO | errno.EPERM
        made.rule(refuse, "mmap", (2, MASKED_EQUAL, both, both))
        for call in ("mprotect", "pkey_mprotect"):
            made.rule(refuse, call, (2, MASKED_EQUAL, PROT_EXEC, PROT_EXEC))
        made.rule(refuse, "shmat", (2, MASKED_EQUAL, SHM_EXEC, SHM_EXEC))
        made.load()


def main(arguments: list[str]) -> None:
    """Applies the rules of UNIT and becomes COMMAND."""
    unit, command = options(Path(arguments[0])), arguments[1:]
    filter_families(unit)
    filter_executable_memory(unit)
    # Last: it may forbid to load another filter.
    filter_calls(unit)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
