"""Ties a child process to the process that started it.

Rule: standard library only, because programs that are run by file and start in a few milliseconds load this module.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PARENT_GONE = 70
"""Exit code of a child whose parent ended before the child was tied to it."""


def die_with(parent: int) -> None:
    """This process is killed when the thread of `parent` that started it ends; exits with 70 when it is gone."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have died before the line above took effect; then no signal will ever come.
    if os.getppid() != parent:
        sys.exit(PARENT_GONE)
