"""Targets of the client: what gRPC would misread is refused, and proxies are never used for this machine."""

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sightline_client.aio import AsyncClient
from sightline_client.cli import search
from sightline_client.errors import ConfigurationError
from sightline_client.options import ClientOptions, TlsOptions
from sightline_client.sync import Client
from sightline_client.target import grpc_target, is_local

MALFORMED = {
    "": "port is missing|host is missing",
    "57430": "the host is missing",
    ":50051": "the host is missing",
    "localhost": "the port is missing",
    "[::1]": "the port is missing",
    "127.0.0.1:": "the port is missing",
    "127.0.0.1:0": "from 1 to 65535",
    "127.0.0.1:99999": "from 1 to 65535",
    "127.0.0.1:" + "9" * 5000: "from 1 to 65535",
    "127.0.0.1:1000065536": "from 1 to 65535",
    "127.0.0.1:-1": "from 1 to 65535",
    "127.0.0.1:+80": "from 1 to 65535",
    "localhost:port": "from 1 to 65535",
    "127.0.0.1:٨٠": "from 1 to 65535",
    "127.0.0.1: 80": "blank",
    "127.0.0.1:80\n": "blank",
    "::1:50051": "brackets",
    "http://127.0.0.1:80": "URL",
    "127.0.0.1:80/": "URL",
    "dns:///shop:99999": "from 1 to 65535",
    "dns:shop:0": "from 1 to 65535",
    "ipv4:10.0.0.1:65536": "from 1 to 65535",
    "grpc://shop:99999": "from 1 to 65535",
    "grpc://shop": "the port is missing",
    "unix:": "path is missing",
    "unix://": "path is missing",
}


@pytest.mark.parametrize("target", MALFORMED)
def test_malformed_target_is_refused_with_the_reason(target: str) -> None:
    with pytest.raises(ConfigurationError, match=MALFORMED[target]) as caught:
        ClientOptions(target=target)
    assert caught.value.message.startswith("cannot connect to ")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


def test_credentials_in_a_target_are_not_shown() -> None:
    with pytest.raises(ConfigurationError, match=r"\*\*\*@host") as caught:
        grpc_target("http://user:secret@host:80", tls=False)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("target", "read"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051"),
        ("[::1]:1", "[::1]:1"),
        ("shop-search:65535", "shop-search:65535"),
        ("dns:50051", "dns:50051"),
        ("dns:///shop:50051", "dns:///shop:50051"),
        ("ipv4:10.0.0.1:1,10.0.0.2:1", "ipv4:10.0.0.1:1,10.0.0.2:1"),
        ("xds:///shop", "xds:///shop"),
        ("grpc://shop:50051", "shop:50051"),
        ("unix:/run/s", "unix:/run/s"),
        ("unix:///run/s", "unix:///run/s"),
        ("unix:/my läden [1]/s", "unix:/my%20l%C3%A4den%20%5B1%5D/s"),
        ("unix:/100%/s", "unix:/100%25/s"),
        ("unix-abstract:shop", "unix-abstract:shop"),
        ("shop.localhost:1", "localhost:1"),
        ("dns:///a.b.LocalHost.:1", "dns:///localhost:1"),
        ("grpc://shop.localhost:1", "localhost:1"),
    ],
)
def test_target_is_given_to_grpc_as_it_reads_it(target: str, read: str) -> None:
    assert grpc_target(target, tls=False) == read


def test_port_may_be_left_out_with_tls() -> None:
    assert ClientOptions(target="shop.example", tls=TlsOptions()).target == "shop.example"
    with pytest.raises(ConfigurationError, match="host is missing"):
        ClientOptions(target="57430", tls=TlsOptions())


LOCAL = ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "LocalHost.:1", "[::1]:1", "0.0.0.0:1", "[::]:1", "unix:/s"]
LOCAL += ["unix-abstract:s", "dns:///localhost:1", "dns:127.0.0.1:1", "ipv4:127.0.0.1:1", "ipv6:[::1]:1"]
LOCAL += ["grpc://127.0.0.1:1", "shop.localhost:1", "dns:///shop.localhost.:1", "[::ffff:127.0.0.1]:1"]
LOCAL += ["ipv4:127.0.0.1:1,127.0.0.2:1", "ipv6:[::1]:1,[::1]:2", "dns://9.9.9.9/127.0.0.1:1"]
ELSEWHERE = ["shop:1", "10.0.0.1:1", "localhost.example:1", "dns:///shop:1", "[2001:db8::1]:1", "unixfoo:1"]
ELSEWHERE += ["localhost.localdomain:1", "ip6-localhost:1", "notlocalhost:1", "0x7f000001:1", "[::ffff:10.0.0.1]:1"]
ELSEWHERE += ["ipv4:127.0.0.1:1,10.0.0.1:1", "ipv4:10.0.0.1:1,127.0.0.1:1", "ipv6:[::1]:1,[2001:db8::1]:1"]
ELSEWHERE += ["dns://9.9.9.9/localhost:1", "dns:::1:50051", "xds:///shop", "vsock:2:50051"]


@pytest.mark.parametrize(("target", "local"), [*((t, True) for t in LOCAL), *((t, False) for t in ELSEWHERE)])
def test_proxies_of_the_environment_are_for_other_machines_only(target: str, local: bool) -> None:
    assert is_local(target) is local
    options = ClientOptions(target=target, insecure=True)
    assert dict(options.channel_arguments())["grpc.enable_http_proxy"] == int(not local)


@pytest.mark.parametrize("target", LOCAL)
def test_plaintext_on_this_machine_needs_nothing(target: str) -> None:
    assert ClientOptions(target).target == target


@pytest.mark.parametrize("target", ELSEWHERE)
def test_plaintext_to_another_machine_is_refused_with_both_ways_out(target: str) -> None:
    for make in (ClientOptions, AsyncClient, Client):
        with pytest.raises(
            ConfigurationError, match=f"the connection to {re.escape(target)} would not be enc"
        ) as caught:
            make(target)
        assert "tls=TlsOptions()" in caught.value.message
        assert "insecure=True" in caught.value.message
    assert ClientOptions(target, insecure=True).tls is None
    assert ClientOptions(target, tls=TlsOptions()).insecure is False


@pytest.mark.parametrize("target", ["user:secret@shop:1", "dns:///user:secret@shop:1"])
def test_credentials_in_a_plaintext_target_are_not_shown(target: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClientOptions(target)
    assert "secret" not in caught.value.message


def test_server_below_localhost_is_still_told_the_name_that_was_asked_for() -> None:
    options = dict(ClientOptions("dns:///shop.localhost:1").channel_arguments())
    assert options["grpc.default_authority"] == "shop.localhost:1"
    assert "grpc.default_authority" not in dict(ClientOptions("localhost:1").channel_arguments())
    assert grpc_target("shop.localhost:1", tls=True) == "shop.localhost:1", "the certificate decides"


@pytest.mark.parametrize("target", ["localhost", "127.0.0.1", "[::1]", "dns:///localhost", "ipv4:127.0.0.1"])
def test_no_proxy_stands_before_this_machine_when_tls_leaves_out_the_port(target: str) -> None:
    options = ClientOptions(target=target, tls=TlsOptions())
    assert dict(options.channel_arguments())["grpc.enable_http_proxy"] == 0


@pytest.mark.parametrize("target", ["127.0.0.1:99999", "57430", "localhost", "::1:5"])
def test_malformed_target_ends_the_command_with_2(target: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    command = typer.Typer()
    command.command()(search.search)
    photo = tmp_path_factory.mktemp("photo") / "a.jpg"
    photo.write_bytes(b"\xff\xd8")
    ended = CliRunner().invoke(command, [str(photo), "--target", target])
    assert ended.exit_code == 2
    assert "--target" in ended.output


@pytest.mark.parametrize(
    ("options", "refused"), [((), True), (("--insecure",), False), (("--tls",), False), (("--tls-ca", "no.pem"), False)]
)
def test_plaintext_to_another_machine_ends_the_command_with_2(
    options: tuple[str, ...], refused: bool, tmp_path: Path
) -> None:
    command = typer.Typer()
    command.command()(search.search)
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"\xff\xd8")
    # No server answers; what is not refused fails later, with 1.
    ended = CliRunner().invoke(command, [str(photo), "--target", "shop.invalid:1", "--timeout", "0.1", *options])
    assert ended.exit_code == (2 if refused else 1)
    said = " ".join(ended.output.replace("│", " ").split())
    assert ("use --tls (or --tls-ca FILE), or --insecure" in said) is refused
