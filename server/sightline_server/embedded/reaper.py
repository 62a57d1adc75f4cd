"""Outlives the server and cleans up after it: `python reaper.py PREFIX PARENT`, a separate process.

A server killed with SIGKILL cannot unlink its shared memory, where the last photo lies, nor end its engine's stubs. The
reaper holds the reading end of a pipe from the server, which sends `watch PID`, `forget PID` and `folder PATH`; when
the pipe ends or the server is gone it kills the engine's process group, unlinks all that begins with PREFIX, removes
the engine's folder in `/tmp` and the runtime folder, and ends.
Rule: standard library only, no state but the engine's pid and its folder, and it never kills a process or removes a
folder that the server did not name.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path

# Run by file and isolated, so that it starts in a few milliseconds; the package is still found from this file's folder.
sys.path.insert(0, str(Path(__file__).parents[2]))
from sightline_server import runtime_folder
from sightline_server.embedded import folders
from sightline_server.process_identity import ProcessIdentity, identity_of
from sightline_server.triton import regions

CHECK_PARENT_S = 1.0
GIVE_UP_S = 10.0


def main(arguments: list[str]) -> None:
    """Waits for the server's end, then reaps."""
    prefix, parent = arguments[0], int(arguments[1])
    # A signal to the whole terminal or service must not end the reaper before the server.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    left = follow(parent)
    reap(prefix, left.engines.values())
    for folder in (*left.folders, *folders_of_dead(prefix, parent)):
        runtime_folder.remove(folder)


class Left:
    """The processes and folders that a server leaves behind when it ends."""

    def __init__(self) -> None:
        """Nothing yet. `engines` are process id -> identity, `folders` runtime folders."""
        self.engines: dict[int, ProcessIdentity] = {}
        self.folders: set[Path] = set()


def follow(parent: int) -> Left:
    """Reads the server's lines until it ends; returns what it left behind."""
    left = Left()
    pending = b""
    while os.getppid() == parent:
        readable, _, _ = select.select([0], [], [], CHECK_PARENT_S)
        if not readable:
            continue
        received = os.read(0, 4096)
        if not received:
            break
        *lines, pending = (pending + received).split(b"\n")
        for line in lines:
            apply(line.decode(), left)
    return left


def apply(line: str, left: Left) -> None:
    """Applies one line of the server."""
    verb, _, what = line.partition(" ")
    if verb == "watch":
        left.engines[int(what)] = identity_of(int(what))
    elif verb == "forget":
        left.engines.pop(int(what), None)
    elif verb == "folder":
        left.folders.add(Path(what))


def reap(prefix: str, engines: Collection[ProcessIdentity]) -> None:
    """Kills the remaining engines and unlinks the regions until nothing is left, for a bounded time."""
    deadline = time.monotonic() + GIVE_UP_S
    while True:
        alive = [engine for engine in engines if kill_group(engine)]
        regions.remove(prefix)
        folders.remove_of(prefix)
        if (not alive and not regions.listed(prefix)) or time.monotonic() > deadline:
            return
        time.sleep(0.05)


def folders_of_dead(prefix: str, parent: int) -> list[Path]:
    """The runtime folders of a server that has ended, also those that it did not name; none of one that runs."""
    found = [folder for folder in runtime_folder.listed() if folder.name.startswith(prefix)]
    deadline = time.monotonic() + CHECK_PARENT_S
    # The pipe of a killed server ends a little before the server does.
    while found and os.getppid() == parent and time.monotonic() < deadline:
        time.sleep(0.05)
    return [] if os.getppid() == parent else found


def kill_group(leader: ProcessIdentity) -> bool:
    """Sends SIGKILL to the process group of `leader`; False when it has no process any more."""
    # Another process got the number after the group had become empty.
    if leader.replaced:
        return False
    try:
        os.killpg(leader.pid, signal.SIGKILL)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
