"""The decode process: `python -m sightline_server.stages.processes.program PARENT SOCKET MEMORY SECONDS`.

Rule: it lowers its priority before it loads the image libraries, which takes most of the time of its start.
"""

import sys

from sightline_server.stages.processes.yielding import yield_to_others


def main() -> None:
    """Decodes for process PARENT over SOCKET, each photo within MEMORY bytes and SECONDS of CPU."""
    yield_to_others()
    from sightline_server.stages.processes.decoding import run

    run(*map(int, sys.argv[1:5]))


if __name__ == "__main__":
    main()
