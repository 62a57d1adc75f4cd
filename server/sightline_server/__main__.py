"""`python -m sightline_server`: the server's commands without the console script."""

import signal

from sightline_console.allocator import start_again

# For good (cli/hangup.py), and before the imports below: they are most of the time in which SIGHUP could end a server.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
if __name__ == "__main__":
    start_again()

from sightline_server.cli.serve import main  # noqa: E402

if __name__ == "__main__":
    main()
