"""A publisher or a follower that kills itself: `python -m tests.support.killed_replication publish|follow FOLDER N`.

It ends with SIGKILL at its Nth change of a file below FOLDER, just before that is made. With a large N it succeeds and
prints the number of changes.
"""

import os
import signal
import sys
from pathlib import Path

from tests.support.replicas import Site

CHANGES = ("os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "os.utime", "open")


def main(verb: str, folder: Path, last: int) -> None:
    """Runs one step."""
    site, made = Site(folder), 0

    def on_event(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal made
        if event not in CHANGES or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        made += 1
        if made == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_event)
    {"publish": site.publish, "follow": site.follow}[verb]()
    print(made)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
