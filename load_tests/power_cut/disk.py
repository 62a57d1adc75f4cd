"""Files and folders as processes see them, and as a disk surely holds them.

Rule: the bytes of a file are sure after its fsync, a name after the fsync of its folder. What else a disk holds after a
power cut is anybody's guess, so three guesses are made.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path

from load_tests.power_cut.trace import Call

CREATE, TRUNCATE, APPEND = b"O_CREAT", b"O_TRUNC", b"O_APPEND"


class UnknownCallError(Exception):
    """A call that changes a file in a way that is not replayed."""


class Guess(Enum):
    """The content of a disk beyond what is sure."""

    NOTHING = "nothing"
    NAMES = "names"
    """Every name, also of files whose bytes were never synchronised: those are empty."""
    SOME = "some"
    """Of each file and folder either what is sure or what processes saw."""


@dataclass(eq=False)
class File:
    """One file; `sure` is what its last synchronisation covered."""

    live: bytearray = field(default_factory=bytearray)
    sure: bytes = b""


@dataclass(eq=False)
class Folder:
    """One folder."""

    live: dict[str, "Node"] = field(default_factory=dict)
    sure: dict[str, "Node"] = field(default_factory=dict)


Node = File | Folder


class Disk:
    """Everything below the folder `root`, which was on the disk at the beginning."""

    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(root)
        self._tree = loaded(root)
        self._offsets: dict[bytes, int] = {}
        self._appending: set[bytes] = set()
        self._syncing: dict[str, Callable[[], None]] = {}
        self._known: dict[str, Callable[[Call], None]] = {
            **dict.fromkeys(("open", "openat", "creat"), self._open),
            **dict.fromkeys(("fsync", "fdatasync"), self._sync),
            **dict.fromkeys(("rename", "renameat", "renameat2"), self._rename),
            **dict.fromkeys(("link", "linkat"), self._link),
            **dict.fromkeys(("unlink", "unlinkat", "rmdir"), self._unlink),
            **dict.fromkeys(("mkdir", "mkdirat"), self._make),
            "write": self._write,
            "pwrite64": self._write_at,
            "read": self._read,
            "lseek": self._seek,
            "ftruncate": self._cut,
            "mmap": self._map,
            "ioctl": lambda call: None,
        }

    def apply(self, call: Call) -> None:
        """Replays a call. Raises `UnknownCallError` for one that cannot be replayed."""
        if call.name == "io_uring_setup":
            raise UnknownCallError("io_uring_setup: a ring writes without calls")
        if not any(self._root in part for part in (*call.arguments, call.target)):
            return
        if call.begun and call.name not in ("fsync", "fdatasync"):
            return
        if call.name not in self._known:
            raise UnknownCallError(f"{call.name}({b', '.join(call.arguments)[:200]!r})")
        self._known[call.name](call)

    def changed_by(self, call: Call) -> bool:
        """Returns whether a call changes what processes see below the root, or what is sure."""
        if call.begun or call.name in ("read", "lseek", "mmap", "ioctl"):
            return False
        if call.name in ("open", "openat") and not any(CREATE in part or TRUNCATE in part for part in call.arguments):
            return False
        return any(self._root in part for part in (*call.arguments, call.target))

    def write_to(self, target: Path, guess: Guess, seed: int) -> None:
        """Writes what the disk may hold now to the empty folder `target`."""
        choice = random.Random(seed)
        extract(self._tree, target, guess, choice)

    def _relative(self, path: bytes) -> list[str] | None:
        """The names below the root, None for a path outside of it or of a removed file."""
        if not (path == self._root or path.startswith(self._root + b"/")) or path.endswith(b"(deleted)"):
            return None
        return [os.fsdecode(name) for name in path[len(self._root) :].split(b"/") if name]

    def _node(self, path: bytes) -> Node | None:
        names = self._relative(path)
        if names is None:
            return None
        node: Node | None = self._tree
        for name in names:
            node = node.live.get(name) if isinstance(node, Folder) else None
        return node

    def _parent(self, path: bytes) -> tuple[Folder, str] | None:
        names = self._relative(path)
        if not names:
            return None
        node = self._node(os.path.dirname(path.rstrip(b"/")))
        return (node, names[-1]) if isinstance(node, Folder) else None

    def _open(self, call: Call) -> None:
        path = opened_path(call)
        flags = b" ".join(call.arguments)
        place = self._parent(path)
        descriptor = number_of(b"%d" % call.result)
        self._offsets[descriptor] = 0
        self._appending.discard(descriptor)
        if APPEND in flags:
            self._appending.add(descriptor)
        if place is None:
            return
        folder, name = place
        if CREATE in flags and name not in folder.live:
            folder.live[name] = File()
        node = folder.live.get(name)
        if TRUNCATE in flags and isinstance(node, File):
            node.live.clear()

    def _write(self, call: Call) -> None:
        node = self._node(path_of(call.arguments[0]))
        if not isinstance(node, File):
            return
        descriptor = number_of(call.arguments[0])
        if descriptor not in self._offsets:
            raise UnknownCallError(f"write to a descriptor that was not opened: {call.arguments[0]!r}")
        start = len(node.live) if descriptor in self._appending else self._offsets[descriptor]
        put(node, start, call.arguments[1][: call.result])
        self._offsets[descriptor] = start + call.result

    def _write_at(self, call: Call) -> None:
        node = self._node(path_of(call.arguments[0]))
        if isinstance(node, File):
            put(node, int(call.arguments[-1]), call.arguments[1][: call.result])

    def _read(self, call: Call) -> None:
        descriptor = number_of(call.arguments[0])
        self._offsets[descriptor] = self._offsets.get(descriptor, 0) + call.result

    def _seek(self, call: Call) -> None:
        self._offsets[number_of(call.arguments[0])] = call.result

    def _cut(self, call: Call) -> None:
        node = self._node(path_of(call.arguments[0]))
        if isinstance(node, File):
            size = int(call.arguments[1])
            del node.live[size:]
            node.live.extend(bytes(size - len(node.live)))

    def _map(self, call: Call) -> None:
        text = b" ".join(call.arguments)
        path = path_of(call.arguments[4])
        if b"PROT_WRITE" in text and b"MAP_SHARED" in text and not path.endswith(b"-shm"):
            raise UnknownCallError(f"a writable shared mapping of {path!r}")

    def _sync(self, call: Call) -> None:
        node = self._node(path_of(call.arguments[0]))
        finish = self._syncing.pop(call.thread, None)
        if finish is None and node is not None:
            finish = synchronisation(node)
        if call.begun and finish is not None:
            self._syncing[call.thread] = finish
        elif finish is not None:
            finish()

    def _rename(self, call: Call) -> None:
        source, target = (self._parent(path) for path in paths(call))
        if source is None or target is None:
            raise UnknownCallError(f"a rename across the root: {call.arguments!r}")
        (old, before), (new, after) = source, target
        if b"RENAME_EXCHANGE" in call.arguments[-1]:
            old.live[before], new.live[after] = new.live[after], old.live[before]
        else:
            new.live[after] = old.live.pop(before)

    def _link(self, call: Call) -> None:
        source, target = paths(call)
        node, place = self._node(source), self._parent(target)
        if node is not None and place is not None:
            place[0].live[place[1]] = node

    def _unlink(self, call: Call) -> None:
        place = self._parent(paths(call)[0])
        if place is not None:
            place[0].live.pop(place[1], None)

    def _make(self, call: Call) -> None:
        place = self._parent(paths(call)[0])
        if place is not None:
            place[0].live[place[1]] = Folder()


def loaded(path: Path) -> Folder:
    """A folder that is on the disk as it is."""
    folder = Folder()
    for entry in path.iterdir():
        if entry.is_dir():
            folder.live[entry.name] = loaded(entry)
        else:
            content = entry.read_bytes()
            folder.live[entry.name] = File(bytearray(content), content)
    folder.sure = dict(folder.live)
    return folder


def extract(node: Node, target: Path, guess: Guess, choice: random.Random) -> None:
    """Writes one node and everything below it."""
    some = guess is Guess.SOME and choice.random() < 0.5
    if isinstance(node, File):
        target.write_bytes(node.live if some else node.sure)
        return
    target.mkdir(exist_ok=True)
    names = node.live if some or guess is Guess.NAMES else node.sure
    for name in sorted(names):
        extract(names[name], target / name, guess, choice)


def synchronisation(node: Node) -> Callable[[], None]:
    """The end of a synchronisation that begins now: the content of now is sure."""
    if isinstance(node, File):
        return partial(setattr, node, "sure", bytes(node.live))
    return partial(setattr, node, "sure", dict(node.live))


def put(file: File, start: int, data: bytes) -> None:
    """Writes `data` at `start`, with zeros before it where the file is shorter."""
    if start > len(file.live):
        file.live.extend(bytes(start - len(file.live)))
    file.live[start : start + len(data)] = data


def number_of(argument: bytes) -> bytes:
    """The descriptor of an argument such as `3</path>`."""
    return argument.partition(b"<")[0]


def path_of(argument: bytes) -> bytes:
    """The path of an argument such as `3</path>`."""
    return argument.partition(b"<")[2].rpartition(b">")[0]


def opened_path(call: Call) -> bytes:
    """The path of an opened file, as its descriptor has it."""
    return path_of(call.target if call.target.startswith(b"<") else b"<" + call.target)


def paths(call: Call) -> list[bytes]:
    """The paths of a call on names, each absolute."""
    if not call.name.endswith(("at", "at2")):
        return [argument for argument in call.arguments if argument.startswith(b"/")]
    found = []
    for base, name in zip(call.arguments[:-1:2], call.arguments[1::2], strict=False):
        if b"<" in base:
            found.append(name if name.startswith(b"/") else path_of(base) + b"/" + name)
    return found
