"""The port of all workers: a foreign server is noticed, and nobody else gets in while it is held."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from sightline_server.domain.address import parse_listener
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.workers import port as workers_port


@pytest.fixture
def held() -> Iterator[tuple[str, int]]:
    with held_port("127.0.0.1:0") as address:
        host, _, port = address.rpartition(":")
        yield host, int(port)


@contextmanager
def held_port(listen: str) -> Iterator[str]:
    """The port held at `listen`, as text on both sides."""
    with workers_port.held_port(parse_listener(listen)) as address:
        yield str(address)


def listener(address: tuple[str, int], *flags: int) -> socket.socket:
    """A socket that listens at `address` with `flags` set. Raises `OSError` when it may not."""
    made = socket.socket()
    try:
        for flag in flags:
            made.setsockopt(socket.SOL_SOCKET, flag, 1)
        made.bind(address)
        made.listen()
    except OSError:
        made.close()
        raise
    return made


def refused(listen: str) -> str:
    with pytest.raises(SightlineError) as caught, held_port(listen):
        pass
    assert caught.value.kind is ErrorKind.CONFIGURATION
    return caught.value.message


@pytest.mark.parametrize("flags", [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)])
def test_a_port_on_which_somebody_listens_is_refused_by_its_name(flags: tuple[int, ...]) -> None:
    with closing(listener(("127.0.0.1", 0), *flags)) as foreign:
        port = foreign.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused(f"127.0.0.1:{port}")


def test_a_port_that_another_parent_holds_is_refused_although_nobody_listens(held: tuple[str, int]) -> None:
    assert str(held[1]) in refused(f"127.0.0.1:{held[1]}")


@pytest.mark.parametrize("flags", [(), (socket.SO_REUSEADDR,)])
def test_nobody_who_does_not_share_gets_a_held_port(held: tuple[str, int], flags: tuple[int, ...]) -> None:
    with pytest.raises(OSError, match="in use"):
        listener(held, *flags)


def test_workers_share_it_and_the_holder_takes_no_connection(held: tuple[str, int]) -> None:
    flags = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
    with closing(listener(held, *flags)) as one, closing(listener(held, *flags)) as other:
        connections = [socket.create_connection(held) for _ in range(32)]
        assert accepted(one) + accepted(other) == len(connections)
        for connection in connections:
            connection.close()


def accepted(server: socket.socket) -> int:
    """Connections that wait at a listener."""
    server.setblocking(False)
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_without_workers_a_held_port_refuses_connections(held: tuple[str, int]) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(held)


def test_the_port_is_free_again_afterwards() -> None:
    with held_port("127.0.0.1:0") as address:
        pass
    with held_port(address) as again:
        assert again == address


def test_every_address_of_a_name_is_held_on_one_port() -> None:
    with held_port("localhost:0") as address:
        port = int(address.removeprefix("localhost:"))
        families = {family for family, *_ in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
        for family in families:
            with socket.socket(family) as probe, pytest.raises(OSError, match="in use"):
                probe.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))


@pytest.mark.parametrize("listen", ["unix:/tmp/x.sock", "unix-abstract:x"])
def test_what_cannot_be_shared_is_refused(listen: str) -> None:
    assert "workers share a TCP port" in refused(listen)


def test_an_address_that_is_not_ours_is_refused() -> None:
    assert "not one of this machine's" in refused("192.0.2.1:50051")


def test_a_name_may_stand_for_an_address_that_this_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    elsewhere = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [elsewhere, here])
    with held_port("shop:0") as address:
        port = int(address.removeprefix("shop:"))
        with pytest.raises(OSError, match="in use"):
            listener(("127.0.0.1", port))
