"""The caller's end of the control socket: finds the servers of this user and asks one of them.

Rule: a runtime folder is believed only if it is this user's and nobody else can enter it; its name says whose it is.
"""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from sightline_server import owned_names, runtime_folder
from sightline_server.control.protocol import MOST_BYTES, SOCKET, Reloaded, reports_of, request_line
from sightline_server.errors import ErrorKind, SightlineError

SERVICE_FOLDER = Path("/run/sightline")
"""The runtime folder under the systemd unit, because the service has its own /tmp."""


def sockets() -> dict[int, Path]:
    """The control sockets of this user's servers by process id."""
    places = [*runtime_folder.places(), SERVICE_FOLDER]
    return {
        int(path.name.split("-")[1]): path / SOCKET
        for path in runtime_folder.listed(places)
        if owned_names.owner_lives(path.name) and (path / SOCKET).is_socket()
    }


def socket_of(pid_file: Path | None) -> Path:
    """The socket of the server whose process id is in `pid_file`, or of the only one of this user.

    Raises `SightlineError` when there is none, or more than one.
    """
    found = sockets()
    if pid_file is not None:
        pid = pid_in(pid_file)
        if pid not in found:
            raise unreachable(f"no server with process id {pid} (from {pid_file})", found)
        return found[pid]
    if not found:
        raise unreachable("no running server", found)
    if len(found) > 1:
        listed = ", ".join(str(pid) for pid in sorted(found))
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"several servers are running (process ids {listed}); choose one by --pid-file"
        )
    return next(iter(found.values()))


def pid_in(pid_file: Path) -> int:
    """The process id in a file. Raises `SightlineError` of kind CONFIGURATION."""
    try:
        return int(pid_file.read_text("ascii", errors="replace"))
    except OSError as error:
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"--pid-file {pid_file}: {os.strerror(error.errno or 0)}"
        ) from error
    except ValueError as error:
        raise SightlineError(
            ErrorKind.CONFIGURATION, f"--pid-file {pid_file}: it does not hold a process id"
        ) from error


def unreachable(what: str, found: dict[int, Path]) -> SightlineError:
    """The error of a server that is not there, or not this user's, or in another mount namespace."""
    others = f"; this user's servers have {', '.join(str(pid) for pid in sorted(found))}" if found else ""
    return SightlineError(
        ErrorKind.CONFIGURATION,
        f"{what} of this user has a control socket{others}. Run this as the user of the server, with the same "
        "XDG_RUNTIME_DIR and TMPDIR; a service or a container with its own /tmp is reloaded by SIGHUP",
    )


def ask_reload(path: Path, names: Sequence[str]) -> list[Reloaded]:
    """Asks the server at `path` to open `names` again; waits until that is done.

    Raises `SightlineError` when the server ends before it answers.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(path))
            connection.sendall(request_line(names))
            with connection.makefile("rb") as answers:
                return reports_of(answers.readline(MOST_BYTES))
    except (OSError, ValueError) as error:
        raise SightlineError(
            ErrorKind.INTERNAL, "the server ended, or is stopping, before the catalogs were reloaded; its log says more"
        ) from error
