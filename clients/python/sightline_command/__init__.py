"""The console script `sightline`.

Rule: it imports next to nothing before it knows the command. SIGHUP never ends a server, and loading the libraries is
most of the time in which it could.
"""

import signal
import sys

from sightline_console.allocator import start_again


def main() -> None:
    """Runs the command line."""
    if sys.argv[1:2] == ["serve"]:
        # For good, and for all threads and child processes; sightline_server/cli/hangup.py receives it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        start_again()
    try:
        from sightline_client import cli
    except KeyboardInterrupt:
        sys.exit(130)
    cli.main()
