"""Lines of strace -> system calls in order.

Rule: a call takes effect when it returns, except that a synchronisation covers only what was written before it began.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

CALLS = (
    *("open", "openat", "openat2", "creat", "read", "write", "writev", "pwrite64", "pwritev", "pwritev2", "lseek"),
    *(
        "truncate",
        "ftruncate",
        "fallocate",
        "rename",
        "renameat",
        "renameat2",
        "link",
        "linkat",
        "symlink",
        "symlinkat",
    ),
    *("unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "fsync", "fdatasync", "sync", "syncfs", "sync_file_range"),
    *("mmap", "copy_file_range", "sendfile", "splice", "tee", "vmsplice", "dup", "dup2", "dup3", "io_uring_setup"),
    *("mknod", "mknodat", "preadv", "preadv2", "readv", "ioctl"),
)
"""The calls that can change a file, a name or an offset; not every architecture has every one."""

WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+|\?|0x[0-9a-f]+)(.*)", re.DOTALL)
BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>", re.DOTALL)
ENDED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
BYTE = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its arguments as strace prints them, decoded to bytes, and what it returned.

    `begun` is True for the beginning of a call that had not returned when another thread's call was printed; `result`
    is then 0.
    """

    thread: str
    name: str
    arguments: tuple[bytes, ...]
    result: int
    target: bytes = b""
    begun: bool = False


def command(program: str, output: str, arguments: list[str]) -> list[str]:
    """The command that traces `arguments` into the file `output`, with every byte that is written."""
    calls = ",".join(f"?{name}" for name in CALLS)
    options = ["-f", "-y", "-xx", "-s", "100000000", "--seccomp-bpf", "-qq", "-e", f"trace={calls}"]
    return [program, *options, "-e", "signal=none", "-o", output, "--", *arguments]


def calls_of(lines: Iterable[str]) -> Iterator[Call]:
    """The calls of a trace that succeeded, and the beginnings of those that took a while."""
    begun: dict[str, str] = {}
    for line in lines:
        text = line.rstrip("\n")
        if found := BEGUN.fullmatch(text):
            thread, name, arguments = found.groups()
            begun[thread] = arguments
            yield Call(thread, name, split(arguments), 0, begun=True)
            continue
        if found := ENDED.fullmatch(text):
            thread, name, rest = found.groups()
            text = f"{thread} {name}({begun.pop(thread, '')}{rest}"
        if (found := WHOLE.fullmatch(text)) and found[4] != "?":
            result = int(found[4], 0)
            if result >= 0:
                yield Call(found[1], found[2], split(found[3]), result, decoded(found[5]))


def split(arguments: str) -> tuple[bytes, ...]:
    """The arguments of a call. Strings are hexadecimal, so that no comma is within one."""
    return tuple(decoded(part) for part in arguments.split(", "))


def decoded(text: str) -> bytes:
    """The bytes of text that strace wrote in hexadecimal, without quotes."""
    if BYTE.search(text) is None:
        return text.strip('"').encode()
    parts = BYTE.split(text.replace('"', ""))
    # Every second part is a byte, the others are what is between them.
    if any(parts[::2]):
        return b"".join(bytes([int(part, 16)]) if odd % 2 else part.encode() for odd, part in enumerate(parts))
    return bytes.fromhex("".join(parts[1::2]))
