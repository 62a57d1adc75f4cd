"""Addresses: those that are accepted, the error of each malformed one, and that no setting takes one unparsed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sightline_server.cli.catalog import app as catalog_command
from sightline_server.cli.loading import load
from sightline_server.cli.serve import app as serve_command
from sightline_server.domain.address import (
    LONGEST_SOCKET_PATH,
    TcpAddress,
    UnixAddress,
    is_loopback_host,
    parse_endpoint,
    parse_listener,
    parse_target,
    parse_tcp_listener,
)
from sightline_server.errors import ErrorKind, SightlineError

MALFORMED = {
    "": "empty",
    "57430": "the host is missing",
    "localhost": "the port is missing",
    "127.0.0.1": "the port is missing",
    "127.0.0.1:": "the port is missing",
    ":50051": "the host is missing",
    ":": "the host is missing",
    "127.0.0.1:99999": "out of range, 0 to 65535",
    "127.0.0.1:65536": "out of range",
    "127.0.0.1:" + "9" * 5000: "out of range",
    "127.0.0.1:-1": "not a number",
    "127.0.0.1:+80": "not a number",
    "127.0.0.1:0x50": "not a number",
    "127.0.0.1:1_0": "not a number",
    "127.0.0.1:8e1": "not a number",
    "127.0.0.1:port": "not a number",
    "127.0.0.1:٨٠": "not a number",
    "127.0.0.1:\uff18\uff10": "not a number",
    "127.0.0.1: 80": "blank",
    " 127.0.0.1:80": "blank",
    "127.0.0.1:80\n": "blank",
    "my host:80": "blank",
    "::1:50051": "needs brackets: [::1]:50051",
    "::": "the port is missing",
    "1:2:3": "too many colons",
    "[::1]": "the port is missing",
    "[::1:50051": "needs brackets|neither",
    "[127.0.0.1]:80": "not an IPv6 address",
    "[::g]:80": "not an IPv6 address",
    "127.0.0.256:80": "not an IPv4 address",
    "127.1:80": "not an IPv4 address",
    "*:80": "neither a name nor an IP address",
    "shop..example:80": "neither a name",
    "läden.example:80": "neither a name",
    "http://127.0.0.1:80": "URL",
    "127.0.0.1:80/": "URL or a path",
    "/run/sightline.sock": "URL or a path",
    "unix:": "no path",
    "unix://": "absolute path",
    "unix://host/x": "absolute path",
    "unix:/tmp/": "slash",
    "unix:/a\0b": "zero byte",
    "unix:/" + "x" * LONGEST_SOCKET_PATH: "108 bytes, a Unix socket takes at most 107",
    "unix:/" + "ü" * 54: "109 bytes",
    "unix-abstract:": "no name",
    "unix-abstract:" + "x" * 108: "at most 107",
}


@pytest.mark.parametrize("text", MALFORMED)
@pytest.mark.parametrize(("parse", "verb"), [(parse_listener, "listen on"), (parse_target, "connect to")])
def test_malformed_address_is_refused_with_the_reason(text: str, parse: Callable[[str], object], verb: str) -> None:
    with pytest.raises(ValueError, match=MALFORMED[text].replace("[", r"\[")) as caught:
        parse(text)
    assert str(caught.value).startswith(f"cannot {verb} ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:50051", TcpAddress("127.0.0.1", 50051), True),
        ("127.9.9.9:1", TcpAddress("127.9.9.9", 1), True),
        ("localhost:65535", TcpAddress("localhost", 65535), True),
        ("LOCALHOST.:1", TcpAddress("LOCALHOST.", 1), True),
        ("[::1]:50051", TcpAddress("::1", 50051), True),
        ("[0:0:0:0:0:0:0:1]:1", TcpAddress("::1", 1), True),
        ("shop.localhost:1", TcpAddress("shop.localhost", 1), True),
        ("localhost.example:1", TcpAddress("localhost.example", 1), False),
        ("unixfoo:1", TcpAddress("unixfoo", 1), False),
        ("my_host-1.example.:1", TcpAddress("my_host-1.example.", 1), False),
        ("unix:/run/s", UnixAddress("/run/s"), True),
        ("unix:///run/s", UnixAddress("/run/s"), True),
        ("unix:s", UnixAddress(os.path.abspath("s")), True),
        ("unix:/my läden/%41:#?[1]", UnixAddress("/my läden/%41:#?[1]"), True),
        ("unix-abstract:shop", UnixAddress("shop", abstract=True), True),
    ],
)
def test_address_is_parsed_and_its_loopback_known(text: str, address: object, loopback: bool) -> None:
    found = parse_listener(text)
    assert (found, found.is_loopback) == (address, loopback)
    assert parse_listener(str(found)) == parse_target(str(found)) == found


@pytest.mark.parametrize(("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("::", "::1")])
def test_every_interface_is_not_loopback_to_listen_on_and_loopback_to_connect_to(host: str, reached: str) -> None:
    text = str(TcpAddress(host, 80))
    assert parse_listener(text) == TcpAddress(host, 80)
    assert not parse_listener(text).is_loopback
    assert parse_target(text) == TcpAddress(reached, 80)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LocalHost.", True),
        ("shop.localhost", True),
        ("a.b.LOCALHOST.", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("::1%lo", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("shop.example", False),
        ("notlocalhost", False),
        ("localhost.example", False),
        ("localhost.localdomain", False),
        ("ip6-localhost", False),
        ("10.0.0.1", False),
        ("169.254.1.1", False),
        ("fe80::1", False),
        ("127.0.0.1.shop.example", False),
        ("0x7f000001", False),
        ("2130706433", False),
        ("", False),
    ],
)
def test_loopback_is_told_by_name_and_address_without_a_look_up(host: str, expected: bool) -> None:
    assert is_loopback_host(host) is expected


@pytest.mark.parametrize("host", ["shop.localhost", "a.B.LocalHost."])
def test_names_below_localhost_are_this_machine_whatever_a_resolver_says(host: str) -> None:
    assert TcpAddress(host, 5).grpc_target == "localhost:5"
    assert str(TcpAddress(host, 5)) == f"{host}:5"


@pytest.mark.parametrize(
    "text", ["ipv4:127.0.0.1:1,10.0.0.2:1", "dns://8.8.8.8/localhost:1", "xds:///triton", "a:1,b:1"]
)
def test_a_target_of_several_addresses_or_another_resolver_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot connect to"):
        parse_target(text)


def test_targets_of_unix_sockets_are_written_as_grpc_reads_them() -> None:
    assert UnixAddress("/my läden/%41[1]").grpc_target == "unix:/my%20l%C3%A4den/%2541%5B1%5D"
    assert TcpAddress("::1", 5).grpc_target == "[::1]:5"


@pytest.mark.parametrize("text", ["grpc://shop:1", "dns:///shop:1", "dns:shop:1", "ipv4:10.0.0.1:1", "ipv6:[::2]:1"])
def test_target_may_name_how_grpc_resolves_it(text: str) -> None:
    assert isinstance(parse_target(text), TcpAddress)
    with pytest.raises(ValueError, match="cannot listen"):
        parse_listener(text)


def test_port_0_is_for_listeners_only() -> None:
    assert parse_listener("127.0.0.1:0") == TcpAddress("127.0.0.1", 0)
    with pytest.raises(ValueError, match="port 0"):
        parse_target("127.0.0.1:0")


def test_listener_without_unix_sockets_says_so() -> None:
    with pytest.raises(ValueError, match="only TCP is possible"):
        parse_tcp_listener("unix:/run/s")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("127.0.0.1:4317", "not a URL"),
        ("grpc://127.0.0.1:4317", "not a URL"),
        ("http://", "empty"),
        ("http://127.0.0.1", "port is missing"),
        ("http://127.0.0.1:99999", "out of range"),
        ("https://127.0.0.1:port", "not a number"),
        ("http://127.0.0.1:4317/v1/traces", "path is not used"),
        ("http://[::1:4317", "brackets|neither"),
        ("https://my host:4317", "blank"),
    ],
)
def test_malformed_endpoint_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse_endpoint(text)
    assert str(caught.value).startswith(f"cannot connect to {text}: ")


@pytest.mark.parametrize("text", ["http://127.0.0.1:4317", "https://[::1]:4317", "https://collector.example"])
def test_endpoint_is_taken_as_it_is(text: str) -> None:
    assert parse_endpoint(text) == text


@pytest.mark.parametrize(
    "text", ["http://user:secret@collector:4317/x", "user:secret@host:80", "http://user:secret@c:x"]
)
def test_credentials_in_an_address_are_not_shown(text: str) -> None:
    for parse in (parse_listener, parse_target, parse_endpoint):
        with pytest.raises(ValueError, match=r"\*\*\*@") as caught:
            parse(text)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("group", "name"),
    [("server", "listen"), ("server", "metrics_listen"), ("engine", "triton_url"), ("tracing", "endpoint")],
)
@pytest.mark.parametrize("text", ["127.0.0.1:99999", "57430", "{reason}:x", '{"host": "127.0.0.1"}'])
def test_every_setting_refuses_a_malformed_address_wherever_it_comes_from(
    group: str, name: str, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "sightline.toml"
    file.write_text(f"[{group}]\n{name} = '{text}'\n")
    from_file = refusal(lambda: load(file))
    options: dict[str, Any] = {group: {name: text}}
    from_option = refusal(lambda: load(**options))
    monkeypatch.setenv(f"SIGHTLINE_{group}__{name}".upper(), text)
    from_variable = refusal(load)
    assert from_file == from_option == from_variable
    assert from_file.startswith(f"setting {group}.{name}: cannot ")
    assert f" {text}: " in from_file


@pytest.mark.parametrize("port", ["65536", "-1", "٨٠", "x", "1.5"])
def test_metrics_port_of_the_engine_is_bounded(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_ENGINE__METRICS_PORT", port)
    assert "setting engine.metrics_port: " in refusal(load)


def refusal(action: Callable[[], object]) -> str:
    """The message of the CONFIGURATION error that `action` raises."""
    with pytest.raises(SightlineError) as caught:
        action()
    assert caught.value.kind is ErrorKind.CONFIGURATION
    return caught.value.message


@pytest.mark.parametrize("option", ["--listen", "--metrics-listen", "--triton-url"])
def test_malformed_option_ends_serve_with_2_and_one_line(option: str) -> None:
    ended = CliRunner().invoke(serve_command, [option, "127.0.0.1:99999"])
    assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "127.0.0.1:99999: the port is out of range" in ended.stderr


def test_malformed_triton_url_ends_a_build_with_2(tmp_path: Path) -> None:
    command = ["build", "feed.csv", "--out", str(tmp_path / "out"), "--triton-url", "localhost"]
    ended = CliRunner().invoke(catalog_command, command)
    assert ended.exit_code == 2
    assert "the port is missing" in ended.stderr
