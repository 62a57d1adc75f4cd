"""The `sightline` command, found by the console script as `main`.

Rule: importing this package loads nothing, so that Ctrl-C ends the command in order from its first moment on.
"""

import sys


def main() -> None:
    """Runs the command with the arguments of the process, and exits."""
    try:
        from sightline_client.cli import entry, root
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(entry.run(root.app, None, "sightline"))


def __getattr__(name: str) -> object:
    if name == "app":
        from sightline_client.cli import root

        return root.app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
