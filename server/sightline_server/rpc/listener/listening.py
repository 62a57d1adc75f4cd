"""Listening on an address: TCP, a socket file, or an abstract Unix socket.

Rule: nothing that a live server uses is taken over or removed. gRPC would unlink whatever is at a socket's path, at the
start and again at the stop. So it binds a private name; that is renamed to the path, under a lock on its folder, when
nobody listens there, and at the stop the path is removed only if it is still this server's socket.
"""

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sightline_server.domain.address import Address, TcpAddress, UnixAddress
from sightline_server.errors import ErrorKind, SightlineError

LOCK_TIMEOUT_S = 5.0
"""Seconds that a start waits for another server that begins to listen in the same folder."""
LOCK_POLL_S = 0.05

AddPort = Callable[[str], int]
"""Makes gRPC listen on a target in gRPC's syntax; returns the port. Raises `RuntimeError`."""


@contextmanager
def listening_on(address: Address, add_port: AddPort) -> Iterator[Address]:
    """Listens for the length of the block; gives the address with the real port in place of 0.

    Raises `SightlineError` of kind CONFIGURATION that says what is in the way. The server must be stopped by its owner
    before the block ends.
    """
    if isinstance(address, UnixAddress) and not address.abstract:
        with socket_file(address, add_port):
            yield address
        return
    try:
        port = add_port(address.grpc_target)
    except RuntimeError as error:
        raise cannot_listen(address, obstacle(address)) from error
    yield address.with_port(port) if isinstance(address, TcpAddress) else address


def cannot_listen(address: Address, reason: str) -> SightlineError:
    """The error of an address that cannot be used."""
    return SightlineError(ErrorKind.CONFIGURATION, f"cannot listen on {address}: {reason}")


def obstacle(address: Address) -> str:
    """The reason why this process cannot listen at `address`, or an empty text; changes nothing there."""
    if isinstance(address, UnixAddress):
        return occupant(address.path) if not address.abstract else abstract_obstacle(address.path)
    try:
        resolved = socket.getaddrinfo(
            address.resolved_host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror:
        return "the host name cannot be resolved"
    for family, kind, _, _, socket_address in resolved:
        with suppress(OSError), socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(socket_address)
            except OSError as error:
                return in_words(error)
    return ""


def abstract_obstacle(name: str) -> str:
    """As `obstacle`, for a name in the abstract namespace."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(f"\0{name}")
        except OSError as error:
            return in_words(error)
    return ""


def in_words(error: OSError) -> str:
    """The operating system's reason, in the words of the messages here."""
    if error.errno == errno.EADDRNOTAVAIL:
        return "the address is not one of this machine's"
    return (error.strerror or str(error)).lower()


def occupant(path: str) -> str:
    """The reason why no socket may be made at `path`; empty where there is no file, or a dead server's socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return "there is a file that is not a socket"
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            probe.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return ""
    except BlockingIOError:
        return "another server listens there"
    except OSError as error:
        return in_words(error)
    return "another server listens there"


@contextmanager
def socket_file(address: UnixAddress, add_port: AddPort) -> Iterator[None]:
    """Listens on a socket file for the length of the block. Raises `SightlineError` of kind CONFIGURATION."""
    folder, name = os.path.split(address.path)
    with ExitStack() as stack:
        try:
            folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise cannot_listen(address, f"folder {folder}: {in_words(error)}") from error
        stack.callback(os.close, folder_fd)
        # By its descriptor the folder has a path that is short and plain whatever its name is.
        within = Path(f"/proc/self/fd/{folder_fd}")
        with locked(folder_fd, address):
            if reason := occupant(str(within / name)):
                raise cannot_listen(address, reason)
            own = bind_private(address, within, add_port)
            try:
                os.rename(own, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
                bound = identity(folder_fd, name)
            except OSError as error:
                raise cannot_listen(address, in_words(error)) from error
        stack.callback(remove_own, address, folder_fd, name, bound)
        yield


def bind_private(address: UnixAddress, within: Path, add_port: AddPort) -> str:
    """Makes gRPC listen on a new name in the folder; returns the name."""
    own = f".sightline-{os.urandom(4).hex()}"
    try:
        add_port(f"unix:{within / own}")
    except RuntimeError as error:
        folder = os.path.dirname(address.path)
        reason = "" if os.access(folder, os.W_OK | os.X_OK) else f"folder {folder}: permission denied"
        raise cannot_listen(address, reason or "the socket cannot be made") from error
    return own


def remove_own(address: UnixAddress, folder_fd: int, name: str, bound: tuple[int, int]) -> None:
    """Removes the socket file, unless another one has replaced it."""
    with suppress(OSError, SightlineError), locked(folder_fd, address):
        if identity(folder_fd, name) == bound:
            os.unlink(name, dir_fd=folder_fd)


def identity(folder_fd: int, name: str) -> tuple[int, int]:
    """Device and inode of `name` in the folder. Raises `OSError` where it is gone."""
    facts = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    return facts.st_dev, facts.st_ino


@contextmanager
def locked(folder_fd: int, address: Address) -> Iterator[None]:
    """Keeps other servers from beginning to listen in the folder. Raises `SightlineError` when one never ends."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(folder_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise cannot_listen(address, "its folder stays locked by another process") from None
        time.sleep(LOCK_POLL_S)
    try:
        yield
    finally:
        fcntl.flock(folder_fd, fcntl.LOCK_UN)
