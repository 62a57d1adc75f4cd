"""The control socket: a command reaches the server of this user, and only what is a command does anything."""

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sightline_server import runtime_folder
from sightline_server.cli.catalog import app
from sightline_server.cli.pid_file import written_pid
from sightline_server.control import client, server
from sightline_server.control.protocol import Reloaded, names_of, report_line, reports_of, request_line
from sightline_server.errors import ErrorKind, SightlineError

REPORTS = [
    Reloaded("a", "1-aaa", "1-bbb"),
    Reloaded("b", "1-ccc", "1-ccc"),
    Reloaded("c", "1-ddd", "1-ddd", "the catalog at /c is damaged\x1b[31m"),
]


class Catalogs:
    """A fake of a server's catalogs that records its calls."""

    def __init__(self, reports: Sequence[Reloaded] = REPORTS) -> None:
        self.reports = reports
        self.asked: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def reload(self, names: Sequence[str]) -> Sequence[Reloaded]:
        self.asked.append(list(names))
        await self.gate.wait()
        return self.reports


@pytest.fixture(autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only parent of runtime folders, so that other servers of this user are not seen."""
    folder = tmp_path_factory.mktemp("run")
    monkeypatch.setattr(runtime_folder, "places", lambda: [folder])
    monkeypatch.setattr(client, "SERVICE_FOLDER", folder / "service")
    return folder


def test_lines_come_back_as_they_were_sent() -> None:
    assert names_of(request_line(["a", "b"])) == ["a", "b"]
    assert reports_of(report_line(REPORTS)) == REPORTS


async def test_a_command_waits_for_the_work_and_brings_its_report() -> None:
    catalogs = Catalogs()
    catalogs.gate.clear()
    async with server.control_socket(catalogs.reload):
        asking = asyncio.create_task(asyncio.to_thread(client.ask_reload, client.socket_of(None), ["a"]))
        while not catalogs.asked:  # noqa: ASYNC110 (another thread)
            await asyncio.sleep(0.01)
        assert not asking.done()
        catalogs.gate.set()
        assert await asking == REPORTS
    assert catalogs.asked == [["a"]]
    assert client.sockets() == {}, "nothing is left behind"


async def test_the_folder_is_closed_to_others(place: Path) -> None:
    async with server.control_socket(Catalogs().reload):
        [folder] = runtime_folder.listed()
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
        assert client.sockets() == {os.getpid(): folder / "control"}


@pytest.mark.parametrize(
    "sent", [b"", b"\n", b"reload\n", b'{"stop": []}\n', b'{"reload": "a"}\n', b'{"reload": [1]}\n']
)
async def test_what_is_no_command_does_nothing(sent: bytes) -> None:
    catalogs = Catalogs()
    async with server.control_socket(catalogs.reload):
        reader, writer = await asyncio.open_unix_connection(client.socket_of(None))
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        assert await asyncio.to_thread(client.ask_reload, client.socket_of(None), []) == REPORTS
    assert catalogs.asked == [[]]


async def test_a_call_that_sends_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.05)
    async with server.control_socket(Catalogs().reload):
        reader, writer = await asyncio.open_unix_connection(client.socket_of(None))
        assert await reader.read() == b""
        writer.close()


async def test_a_server_that_stops_answers_nobody_and_says_so() -> None:
    catalogs = Catalogs()
    catalogs.gate.clear()
    async with server.control_socket(catalogs.reload):
        asking = asyncio.create_task(asyncio.to_thread(client.ask_reload, client.socket_of(None), []))
        while not catalogs.asked:  # noqa: ASYNC110 (another thread)
            await asyncio.sleep(0.01)
    with pytest.raises(SightlineError, match="the server ended, or is stopping"):
        await asking


async def test_a_server_without_a_place_for_its_socket_serves_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtime_folder, "places", list)
    async with server.control_socket(Catalogs().reload):
        assert "no control socket" in caplog.text


def test_a_folder_of_a_dead_server_is_not_asked(place: Path) -> None:
    dead = place / "sightline-4194304-1-run-abcdef00"
    dead.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(dead / "control"))
        assert client.sockets() == {}
    with pytest.raises(SightlineError, match="no running server of this user") as caught:
        client.socket_of(None)
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_of_several_servers_one_is_chosen_by_its_pid_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {71: Path("/run/71"), 72: Path("/run/72")}
    monkeypatch.setattr(client, "sockets", lambda: found)
    with pytest.raises(SightlineError, match=r"several servers are running \(process ids 71, 72\); choose one"):
        client.socket_of(None)
    file = tmp_path / "pid"
    file.write_text("72\n")
    assert client.socket_of(file) == found[72]
    file.write_text("73\n")
    with pytest.raises(SightlineError, match=r"no server with process id 73 .*this user's servers have 71, 72"):
        client.socket_of(file)


@pytest.mark.parametrize("content", [None, b"", b"server\n", b"\xff\xfe", b"1 2"])
def test_a_pid_file_without_a_pid_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "pid"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SightlineError, match="--pid-file") as caught:
        client.socket_of(file)
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_the_pid_is_in_its_file_while_the_server_serves(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    file.write_text("99\n")
    with written_pid(file):
        assert client.pid_in(file) == os.getpid()
    assert list(tmp_path.iterdir()) == []
    with written_pid(file):
        file.write_text("99\n")
    assert file.read_text() == "99\n", "it is another server's by now"
    with pytest.raises(SightlineError, match="cannot write the process id"), written_pid(tmp_path / "none" / "pid"):
        raise AssertionError
    with written_pid(None):
        pass


def run(
    monkeypatch: pytest.MonkeyPatch, reports: Sequence[Reloaded], *arguments: str
) -> tuple[Result, list[list[str]]]:
    asked: list[list[str]] = []
    monkeypatch.setattr(client, "sockets", lambda: {1: Path("/run/1")})

    def ask(_: Path, names: Sequence[str]) -> Sequence[Reloaded]:
        asked.append(list(names))
        return reports

    monkeypatch.setattr("sightline_server.cli.catalog_reload.ask_reload", ask)
    return CliRunner().invoke(app, ["reload", *arguments]), asked


def test_the_command_prints_old_and_new_and_fails_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = run(monkeypatch, REPORTS, "a", "b", "c")
    assert result.stdout == "a: 1-aaa -> 1-bbb\nb: 1-ccc (unchanged)\n"
    assert result.stderr == (
        "sightline: catalog c: the catalog at /c is damaged\\x1b[31m; revision 1-ddd is still served\n"
    )
    assert (result.exit_code, asked) == (1, [["a", "b", "c"]])


def test_the_command_succeeds_where_nothing_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = run(monkeypatch, REPORTS[:2])
    assert (result.exit_code, result.stderr, asked) == (0, "", [[]])


def test_the_command_without_a_server_is_told_what_to_do() -> None:
    result = CliRunner().invoke(app, ["reload"])
    assert result.exit_code == 2
    assert "no running server of this user has a control socket" in result.stderr
