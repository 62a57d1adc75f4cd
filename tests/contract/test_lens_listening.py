"""Unix sockets: named, never taken from a live server, never removed for another one."""

import asyncio
import fcntl
import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from sightline_client.options import ClientOptions
from sightline_client.sync import Client
from sightline_server.domain.address import TcpAddress, UnixAddress, parse_listener
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.listener import listening
from sightline_server.rpc.listener.listening import obstacle
from tests.support.asking import asked
from tests.support.lens import Served, serving


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a hard name and a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="so ü [1]%41", dir="/tmp") as name:
        yield Path(name)


async def refusal(listen: str) -> str:
    """The reason why a server could not listen."""
    with pytest.raises(SightlineError) as caught:
        async with serving(server={"listen": listen}):
            raise AssertionError("it listens")
    assert caught.value.kind is ErrorKind.CONFIGURATION
    return caught.value.message


async def last_event(served: Served) -> str | None:
    """The kind of a search's last event."""
    call, kind = served.search(asked()), None
    while (event := await call.read()) is not grpc.aio.EOF:
        kind = event.WhichOneof("event")
    return kind


async def test_socket_is_named_serves_and_is_removed(place: Path) -> None:
    path = place / "s"
    async with serving(server={"listen": f"unix:{path}"}) as served:
        assert served.address == f"unix:{path}"
        assert os.listdir(place) == ["s"]
        async with grpc.aio.insecure_channel(UnixAddress(str(path)).grpc_target) as served.channel:
            assert await last_event(served) == "done"
    assert os.listdir(place) == []


async def test_relative_path_is_named_in_full(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    async with serving(server={"listen": "unix:s"}) as served:
        assert served.address == f"unix:{place / 's'}"


async def test_socket_of_a_live_server_is_refused_and_stays(place: Path) -> None:
    listen = f"unix:{place / 's'}"
    async with serving(server={"listen": listen}) as served:
        assert await refusal(listen) == f"cannot listen on {listen}: another server listens there"
        async with grpc.aio.insecure_channel(UnixAddress(str(place / "s")).grpc_target) as served.channel:
            assert await last_event(served) == "done"
    assert os.listdir(place) == []


async def test_socket_of_a_dead_server_is_replaced(place: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(place / "s"))
    async with serving(server={"listen": f"unix:{place / 's'}"}):
        assert obstacle(UnixAddress(str(place / "s"))) == "another server listens there"


async def test_socket_of_another_server_is_not_removed(place: Path) -> None:
    listen = f"unix:{place / 's'}"
    async with serving(server={"listen": listen}):
        (place / "s").unlink()
        async with serving(server={"listen": listen}):
            pass
        assert os.listdir(place) == []
        with closing(socket.socket(socket.AF_UNIX)) as other:
            other.bind(str(place / "s"))
    assert os.listdir(place) == ["s"]


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
async def test_what_is_not_a_socket_is_refused_and_kept(kind: str, place: Path) -> None:
    path = place / "s"
    match kind:
        case "file":
            path.write_text("mine")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("nowhere")
    assert "not a socket" in await refusal(f"unix:{path}")
    assert os.listdir(place) == ["s"]


async def test_missing_folder_is_named(place: Path) -> None:
    assert f"folder {place}/absent: no such file or directory" in await refusal(f"unix:{place}/absent/s")


async def test_abstract_socket_is_named_and_taken_once() -> None:
    listen = f"unix-abstract:sightline-test-{os.getpid()}"
    async with serving(server={"listen": listen}) as served:
        assert served.address == listen
        assert await refusal(listen) == f"cannot listen on {listen}: address already in use"
        async with grpc.aio.insecure_channel(listen) as served.channel:
            assert await last_event(served) == "done"


async def test_starts_at_the_same_moment_give_one_server(place: Path) -> None:
    address, ports, refused = parse_listener(f"unix:{place / 's'}"), [], []
    all_here, done = threading.Barrier(8), threading.Barrier(8)

    def bind(target: str) -> int:
        made = socket.socket(socket.AF_UNIX)
        ports.append(made)
        made.bind(target.removeprefix("unix:") + str(len(ports)))
        made.listen()
        os.rename(target.removeprefix("unix:") + str(len(ports)), target.removeprefix("unix:"))
        return 1

    def start() -> None:
        all_here.wait()
        try:
            with listening.listening_on(address, bind):
                done.wait()
        except SightlineError as error:
            refused.append(error.message)
            done.wait()

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for made in ports:
        made.close()
    assert (len(ports), len(refused)) == (1, 7)


def test_locked_folder_is_refused_in_bounded_time(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "LOCK_TIMEOUT_S", 0.1)
    holder = os.open(place, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    address = parse_listener(f"unix:{place / 's'}")
    with pytest.raises(SightlineError, match="locked by another process"), listening.listening_on(address, len):
        raise AssertionError("it listens")
    os.close(holder)


def test_obstacles_are_told_in_words() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        assert obstacle(TcpAddress("127.0.0.1", taken.getsockname()[1])) == "address already in use"
    assert obstacle(TcpAddress("127.0.0.1", 0)) == ""
    assert obstacle(TcpAddress("192.0.2.1", 0)) == "the address is not one of this machine's"
    assert obstacle(TcpAddress("nowhere.invalid", 0)) == "the host name cannot be resolved"


async def test_mode_of_the_socket_follows_the_umask(place: Path) -> None:
    before = os.umask(0o027)
    try:
        async with serving(server={"listen": f"unix:{place / 's'}"}):
            assert stat.S_IMODE((place / "s").stat().st_mode) == 0o750
    finally:
        os.umask(before)


async def test_client_reaches_a_socket_by_its_path(place: Path) -> None:
    async with serving(server={"listen": f"unix:{place / 's'}"}):

        def find() -> int:
            with Client(ClientOptions(target=f"unix:{place / 's'}")) as client:
                return len(client.find(asked().photo).objects)

        assert await asyncio.to_thread(find) > 0
