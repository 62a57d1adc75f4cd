"""Searches the memory of processes for pieces of a photo, through `/proc/PID/mem`.

Rule: it finds a piece at any address of any readable and writable page that a process has in memory, or it raises.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WINDOW = 32
"""Bytes of one piece."""
KEY = 4
"""Bytes of a piece by which candidates are found."""
CHUNK = 32 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)")


@dataclass(frozen=True)
class Pieces:
    """Windows of WINDOW bytes that are nowhere by chance, by the kind of data that they are from."""

    windows: Mapping[str, Sequence[bytes]]

    @classmethod
    def of(cls, data: Mapping[str, bytes], count: int = 64) -> "Pieces":
        """`count` windows of each kind, spread over its bytes.

        Those of few different bytes are left out, and those with a key such as zeros: each such word anywhere in the
        memory would be compared with the window.
        """
        found = {}
        for kind, content in data.items():
            places = np.linspace(0, max(0, len(content) - WINDOW), count).astype(int)
            cut = dict.fromkeys(content[place : place + WINDOW] for place in places)
            found[kind] = [each for each in cut if len(set(each)) > WINDOW // 3 and has_rare_keys(each)]
        return cls(found)

    def __len__(self) -> int:
        return sum(map(len, self.windows.values()))


def has_rare_keys(window: bytes) -> bool:
    """Returns whether each key of the window has more than two different bytes, unlike most words of a memory."""
    return all(len(set(window[shift : shift + KEY])) > 2 for shift in range(KEY))


@dataclass(frozen=True)
class Mapped:
    """A piece of a process's memory."""

    start: int
    end: int
    name: str


def mappings(pid: int) -> list[Mapped]:
    """The memory that process `pid` can read and write and that is resident, mapped files included."""
    found, current = [], None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if match := LINE.fullmatch(line):
            current = match
        elif line.startswith("Rss:") and current and line.split()[1] != "0" and current[3].startswith("rw"):
            found.append(Mapped(int(current[1], 16), int(current[2], 16), current[4]))
    return found


def present(pid: int, mapped: Mapped) -> list[tuple[int, int]]:
    """The parts of a mapping that are in memory or swapped out, as addresses; the rest was never written."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pages:
        pages.seek(mapped.start // PAGE * 8)
        entries = np.frombuffer(pages.read((mapped.end - mapped.start) // PAGE * 8), np.uint64)
    there = np.concatenate(([False], (entries >> np.uint64(62)) != 0, [False]))
    edges = np.flatnonzero(there[1:] != there[:-1]) * PAGE + mapped.start
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def chunks(pid: int) -> Iterator[tuple[Mapped, int, bytes]]:
    """Mapping, address and content of the memory of process `pid`; they overlap by a window, so nothing is cut."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for mapped in mappings(pid):
            for begin, end in present(pid, mapped):
                for start in range(begin, end, CHUNK):
                    try:
                        memory.seek(start)
                        yield mapped, start, memory.read(min(CHUNK + WINDOW, end - start))
                    except OSError:
                        # Unmapped meanwhile, or a device's.
                        continue


@dataclass(frozen=True)
class Found:
    """The position of a piece that was found."""

    kind: str
    mapping: str
    address: int


class Searcher:
    """Finds all windows of `pieces` in one pass over the memory."""

    def __init__(self, pieces: Pieces) -> None:
        self._kinds = {window: kind for kind, windows in pieces.windows.items() for window in windows}
        # At any position of a window, one of its first four words is at a multiple of four; only those are compared.
        self._by_key: dict[int, list[tuple[bytes, int]]] = {}
        for window in self._kinds:
            for shift in range(KEY):
                key = int.from_bytes(window[shift : shift + KEY], "little")
                self._by_key.setdefault(key, []).append((window, shift))
        self._keys = np.array(sorted(self._by_key), np.uint32)
        self._low, self._high = np.zeros((2, 1 << 16), bool)
        self._low[self._keys & 0xFFFF] = True
        self._high[self._keys >> 16] = True

    def scan(self, pid: int) -> list[Found]:
        """All windows in the memory of process `pid`, each at its first address in a mapping's part."""
        found: dict[tuple[bytes, str], Found] = {}
        for mapped, start, content in chunks(pid):
            for window, place in self.search(content):
                found.setdefault((window, mapped.name), Found(self._kinds[window], mapped.name, start + place))
        return list(found.values())

    def search(self, content: bytes) -> Iterator[tuple[bytes, int]]:
        """Windows in `content` and their positions."""
        words = np.frombuffer(content, np.uint32, len(content) // KEY)
        for position in self._candidates(words):
            for window, shift in self._by_key[int(words[position])]:
                place = int(position) * KEY - shift
                if place >= 0 and content.startswith(window, place):
                    yield window, place

    def _candidates(self, words: NDArray[np.uint32]) -> NDArray[np.int64]:
        likely = np.flatnonzero(self._low[words & 0xFFFF])
        likely = likely[self._high[words[likely] >> 16]]
        certain: NDArray[np.int64] = likely[np.isin(words[likely], self._keys)]
        return certain


def tree(pid: int) -> dict[str, int]:
    """Name -> process id of process `pid`, which is "server", and all below it."""
    children: dict[int, list[tuple[str, int]]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = path.read_text().rpartition(")")
        except OSError:
            continue
        name = head.partition("(")[2]
        children.setdefault(int(rest.split()[1]), []).append((name, int(path.parent.name)))
    found, open_ = {"server": pid}, [pid]
    while open_:
        for name, child in children.get(open_.pop(), ()):
            found[f"{name}:{child}"] = child
            open_.append(child)
    return found


def can_read(pid: int) -> bool:
    """Returns whether this process may read the memory of process `pid`."""
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))
    except OSError:
        return False
    return True
