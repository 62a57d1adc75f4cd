"""The decode process: `python -m sightline_server.stages.processes.program PARENT SOCKET MEMORY SECONDS`.

Rule: it lowers its priority before it loads the image libraries, which takes most of the time of its start.
"""

import os
import sys

NICER_BY = 10
"""Niceness of this process. The models are nicer by 5 than the event loop, so a decode process gets a quarter of a core
that a model wants, and all of an idle one: other work hardly waits for it, and it is not starved."""


def main() -> None:
    """Decodes for process PARENT over SOCKET, each photo within MEMORY bytes and SECONDS of CPU."""
    os.nice(NICER_BY)
    from sightline_server.stages.processes.decoding import run

    run(*map(int, sys.argv[1:5]))


if __name__ == "__main__":
    main()
