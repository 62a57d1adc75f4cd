"""Becomes the engine: `python launch.py PARENT COMMAND...`, run by file so that it starts in a few milliseconds.

Between fork and exec of tritonserver it makes settings that the server must not make for itself: die with the server
(PR_SET_PDEATHSIG), no core dumps (a core holds pixels), private files that stay private, a lower priority, and a check
that the server is still there.
Rule: it imports the interpreter's own modules, orphans.py and file_modes.py, which do the same. The caller makes the
process group, and starts it from its main thread: the death signal fires when the *thread* that forked ends.
"""

import os
import resource
import sys

# Run by file and isolated, so that it starts in a few milliseconds; our own package is still where this file is.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from sightline_server.embedded.file_modes import ignore_fchmod
from sightline_server.orphans import die_with

CORES = "SIGHTLINE_CORES"
"""Variable with the files by which the models share the cores (cores.py): this process inherits them."""
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


if __name__ == "__main__":
    main(sys.argv[1:])
