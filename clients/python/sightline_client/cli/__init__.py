"""The `sightline` command, found by the console script as `main`.

Rule: importing this package loads nothing, so that Ctrl-C ends the command in order from its first moment on.
"""

import os
import sys

QUIET_COMMANDS = ("search", "eval")
"""Commands whose failed calls are reported by us; gRPC's own log lines about them would only repeat it."""


def main() -> None:
    """Runs the command with the arguments of the process, and exits."""
    try:
        if sys.argv[1:2] and (sys.argv[1] in QUIET_COMMANDS or asks_a_server(sys.argv[1:])):
            _load_grpc_quietly()
        from sightline_client.cli import root
        from sightline_console import entry
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(entry.run(root.app, None, "sightline"))


def asks_a_server(arguments: list[str]) -> bool:
    """Returns whether a command of the server asks a running server, as a client does."""
    return arguments[0] == "catalog" and any(each.partition("=")[0] == "--target" for each in arguments)


def _load_grpc_quietly() -> None:
    """gRPC reads the variable when it is loaded; a server that this process starts does not inherit it."""
    if "GRPC_VERBOSITY" in os.environ:
        return
    os.environ["GRPC_VERBOSITY"] = "NONE"
    try:
        import grpc  # noqa: F401
    finally:
        del os.environ["GRPC_VERBOSITY"]


def __getattr__(name: str) -> object:
    if name == "app":
        from sightline_client.cli import root

        return root.app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
