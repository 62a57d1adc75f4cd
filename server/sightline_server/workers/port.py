"""The one port of all workers, taken by the parent.

Rule: taken before anything else and without sharing, so that a foreign server is noticed; then opened to sharing while
it is held (Linux checks the current flag, not that of binding), so that it is never free for others.
The parent's sockets never listen: the kernel gives connections to the workers only.
"""

import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from sightline_server.domain.address import Address, TcpAddress
from sightline_server.rpc.listener.listening import cannot_listen, in_words

NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""An address that this machine does not have."""


@contextmanager
def held_port(listen: Address) -> Iterator[TcpAddress]:
    """Holds HOST:PORT for the length of the block; gives it with the real port in place of 0.

    Only processes of this user that ask for sharing, as workers do, may listen there meanwhile. Raises `SightlineError`
    of kind CONFIGURATION when the port is taken or the address cannot be shared.
    """
    if not isinstance(listen, TcpAddress):
        raise cannot_listen(listen, "workers share a TCP port HOST:PORT; a Unix socket needs --workers 1")
    with ExitStack() as stack:
        try:
            number = take_all(stack, addresses(listen.resolved_host, listen.port), listen.port)
        except OSError as error:
            raise cannot_listen(listen, in_words(error)) from error
        yield listen.with_port(number)


def take_all(stack: ExitStack, wanted: Sequence[tuple[socket.AddressFamily, tuple[Any, ...]]], number: int) -> int:
    """Holds one port on every address of this machine among `wanted` until `stack` ends; returns it.

    A name such as localhost may stand for IPv6 where there is none; a server alone passes over that too. Raises
    `OSError` when the port is taken on one of them, or none is this machine's.
    """
    absent: OSError | None = None
    held = False
    for family, address in wanted:
        try:
            with ExitStack() as attempt:
                number = take(attempt.enter_context(socket.socket(family)), (address[0], number, *address[2:]))
                stack.push(attempt.pop_all())
            held = True
        except OSError as error:
            if error.errno not in NOT_HERE:
                raise
            absent = error
    if absent is not None and not held:
        raise absent
    return number


def addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    """Every address of `host` that a server would listen on."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def take(held: socket.socket, address: tuple[Any, ...]) -> int:
    """Binds `held` where no other process is bound, then lets workers join it; returns its port."""
    # Without it, connections of a server that has just ended would keep the port for a minute.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(address)
    # With it, another process with the same flag could bind the port too, as long as no process listens.
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return int(held.getsockname()[1])
