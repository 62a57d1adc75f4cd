"""Runs a command that ends with its parent: `python bound_launch.py PARENT_PID COMMAND ...`.

Run by its path, so that nothing else is imported. Rule: the signal is set before the parent is checked, because a
parent that had died in between would never be noticed. Linux only (prctl(2), PR_SET_PDEATHSIG); elsewhere it only runs
the command.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Binds this process to its parent and becomes the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
