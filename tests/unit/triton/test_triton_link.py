"""The link to a Triton elsewhere: when it must not be in the clear, which files it takes, and what failures mean."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sightline_server.app.engine import engine_session
from sightline_server.cli import doctor
from sightline_server.cli.catalog import app as catalog_command
from sightline_server.domain.address import parse_target
from sightline_server.domain.checks import Verdict
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import EngineSettings, Settings
from sightline_server.triton.client import channel_options
from sightline_server.triton.handshake import explain, is_final
from sightline_server.triton.link import Link, TritonTls, link_of
from tests.support.authority import Authority
from tests.support.catalogs import row, unit_vectors, write_catalog

ELSEWHERE = ["triton:8001", "10.0.0.5:8001", "[2001:db8::1]:8001", "dns:///triton.example:8001", "localhost.example:1"]
HERE = ["127.0.0.1:8001", "[::1]:8001", "localhost:8001", "t.localhost:8001", "dns:///localhost:1", "ipv4:127.0.0.1:1"]
HERE += ["[::ffff:127.0.0.1]:8001", "0.0.0.0:8001", "unix:/run/triton/grpc:1", "unix-abstract:triton"]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def link(**settings: Any) -> Link:
    """The link of an engine group with these settings."""
    made = link_of(EngineSettings(**{"triton_url": "triton:8001", **settings}))
    assert made is not None
    return made


def refused(**settings: Any) -> str:
    """The message with which these settings of the engine group are refused."""
    with pytest.raises(SightlineError) as caught:
        link(**settings).check()
    assert caught.value.kind is ErrorKind.CONFIGURATION
    return caught.value.message


@pytest.mark.parametrize("url", ELSEWHERE)
def test_plaintext_to_another_machine_is_refused_with_every_way_out(url: str) -> None:
    message = refused(triton_url=url)
    assert message.startswith(f"engine.triton_url {parse_target(url)}: images would go to another machine without")
    for way in ("engine.triton_tls = true", "engine.triton_tls_ca", "engine.triton_insecure = true"):
        assert way in message
    link(triton_url=url, triton_insecure=True).check()
    link(triton_url=url, triton_tls=True).check()


@pytest.mark.parametrize("url", HERE)
def test_plaintext_on_this_machine_needs_nothing(url: str) -> None:
    assert link(triton_url=url).tls is None
    link(triton_url=url).check()


async def test_every_session_with_an_engine_is_refused_before_anything_is_sent() -> None:
    settings = Settings(engine=EngineSettings(triton_url=parse_target("192.0.2.1:8001")))
    with pytest.raises(SightlineError, match=r"engine.triton_url 192\.0\.2\.1:8001: images would go") as caught:
        async with engine_session(settings):
            raise AssertionError
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_serve_ends_with_2_and_one_line(tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", [row("p0", unit_vectors(1))])
    arguments = ["--catalog", str(tmp_path / "shop"), "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
    command = [sys.executable, "-m", "sightline_server", "serve", *arguments, "--triton-url", "192.0.2.1:8001"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert ended.returncode == 2
    assert "engine.triton_url 192.0.2.1:8001" in ended.stderr.splitlines()[-1]
    assert "--triton-insecure" in ended.stderr


def test_catalog_build_ends_with_2(tmp_path: Path) -> None:
    feed = tmp_path / "feed.csv"
    feed.write_text("id,title,image_link\n1,Cup,cup.jpg\n")
    command = ["build", str(feed), "--out", str(tmp_path / "out"), "--triton-url", "192.0.2.1:8001"]
    ended = CliRunner().invoke(catalog_command, command)
    assert (ended.exit_code, "engine.triton_url 192.0.2.1:8001" in ended.stderr) == (2, True)


@pytest.mark.parametrize("setting", ["triton_tls_ca", "triton_tls_cert", "triton_tls_name"])
def test_any_tls_setting_turns_tls_on(setting: str, authority: Authority) -> None:
    values = {"triton_tls_ca": authority.root, "triton_tls_cert": authority.cert, "triton_tls_name": "triton"}
    given = {setting: values[setting]} | ({"triton_tls_key": authority.key} if "cert" in setting else {})
    made = link(**given)
    assert made.tls is not None
    made.check()
    assert made.protection == ("mutual TLS" if "cert" in setting else "TLS")


@pytest.mark.parametrize("given", ["triton_tls_cert", "triton_tls_key"])
def test_client_certificate_and_key_go_together(given: str, authority: Authority) -> None:
    assert refused(**{given: authority.cert}).startswith("engine.triton_tls_cert and engine.triton_tls_key go together")


@pytest.mark.parametrize(
    "given", [{"triton_tls": True}, {"triton_tls_ca": Path("ca.pem")}, {"triton_tls_name": "triton"}], ids=str
)
def test_tls_without_a_triton_elsewhere_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(SightlineError, match=r"engine\.triton_tls\.\.\. need engine\.triton_url") as caught:
        link_of(EngineSettings(**given))
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert link_of(EngineSettings()) is None


@pytest.mark.parametrize("setting", ["triton_tls_ca", "triton_tls_cert", "triton_tls_key"])
def test_a_file_that_cannot_be_read_is_named(setting: str, authority: Authority, tmp_path: Path) -> None:
    good = {"triton_tls_ca": authority.root, "triton_tls_cert": authority.cert, "triton_tls_key": authority.key}
    link(**good).check()
    missing = tmp_path / "missing.pem"
    assert refused(**{**good, setting: missing}) == f"cannot read {missing}: No such file or directory"
    assert refused(**{**good, setting: tmp_path}) == f"cannot read {tmp_path}: Is a directory"


def test_files_that_do_not_fit_are_named_with_the_reason(authority: Authority, tmp_path: Path) -> None:
    other_cert, _ = authority.client_files(tmp_path)
    message = refused(triton_tls_cert=other_cert, triton_tls_key=authority.key)
    assert f"engine.triton_tls_cert {other_cert} and engine.triton_tls_key {authority.key}" in message
    assert "key values mismatch" in message
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"no certificate\n")
    assert refused(triton_tls_ca=empty).startswith(f"engine.triton_tls_ca {empty} holds no certificate")
    assert refused(triton_tls_cert=empty, triton_tls_key=authority.key).endswith("are not a certificate and its key")


def test_doctor_says_what_serve_would_say(authority: Authority) -> None:
    def check(**settings: Any) -> tuple[Verdict, str]:
        found = doctor.engine(Settings(engine=EngineSettings(**settings)))
        return found.verdict, found.found

    verdict, text = check(triton_url="triton:8001")
    assert (verdict, "images would go to another machine without encryption" in text) == (Verdict.FAIL, True)
    verdict, text = check(triton_url="triton:8001", triton_tls_ca=Path("/none"))
    assert (verdict, text) == (Verdict.FAIL, "cannot read /none: No such file or directory")
    good = check(triton_url="triton:8001", triton_tls_ca=authority.root)
    assert good == (Verdict.OK, "a running Triton at triton:8001, TLS")
    assert check(triton_url="unix:/run/t:1")[1] == "a running Triton at unix:/run/t:1, on this machine"
    assert check(triton_url="triton:8001", triton_insecure=True)[1].endswith("without encryption")


@pytest.mark.parametrize(
    ("url", "name", "override"),
    [("triton:8001", "", None), ("triton:8001", "t.example", "t.example"), ("t.localhost:1", "", "t.localhost")],
)
def test_certificate_must_name_the_host_or_what_is_set(url: str, name: str, override: str | None) -> None:
    options = dict(channel_options(parse_target(url), TritonTls(server_name=name)))
    assert options.get("grpc.ssl_target_name_override") == override


FRAME = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.5:8001: "
TLS_FAILED = FRAME + "Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:"
UNTRUSTED = TLS_FAILED + "OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate: OK"
EXPIRED = TLS_FAILED + "OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: certificate has expired: OK"
PLAIN = TLS_FAILED + "OPENSSL_internal:WRONG_VERSION_NUMBER: Invalid certificate verification context: OK"
ALERT = TLS_FAILED + "OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA"
PROTOCOL = TLS_FAILED + "OPENSSL_internal:UNSUPPORTED_PROTOCOL"
NAME = FRAME + "Custom verification check failed with error: UNAUTHENTICATED: Hostname Verification Check failed."
OLD_NAME = FRAME + "Peer name 10.0.0.5 is not in peer certificate"
CUT = "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:10.0.0.5:8001: Socket closed"
REFUSED = FRAME + "Failed to connect to remote host: Connection refused"
NO_NAME = "DNS resolution failed for triton:8001: C-ares status is not ARES_SUCCESS"


@pytest.mark.parametrize(
    ("detail", "tls", "final", "said"),
    [
        (
            UNTRUSTED,
            TritonTls(Path("a.pem")),
            True,
            "(unable to get local issuer certificate) with engine.triton_tls_ca a.pem",
        ),
        (UNTRUSTED, TritonTls(), True, "with the system's root certificates: set engine.triton_tls_ca"),
        (EXPIRED, TritonTls(), True, "its certificate cannot be verified (certificate has expired)"),
        (NAME, TritonTls(), True, "is not for triton:8001: set engine.triton_tls_name"),
        (OLD_NAME, TritonTls(server_name="t"), True, "is not for t: set engine.triton_tls_name"),
        (PLAIN, TritonTls(), True, "it does not use TLS: start Triton with --grpc-use-ssl=true"),
        (ALERT, TritonTls(), True, "(tlsv1 alert unknown ca): if it asks for a client certificate"),
        (PROTOCOL, TritonTls(), True, "the TLS handshake failed: unsupported protocol"),
        (CUT, TritonTls(), False, "set engine.triton_tls_cert and engine.triton_tls_key"),
        (
            CUT,
            TritonTls(cert=Path("c.pem")),
            False,
            "it may not trust the client certificate engine.triton_tls_cert c.pem",
        ),
        (CUT, None, False, "if it uses TLS (--grpc-use-ssl), set engine.triton_tls"),
        (REFUSED, None, False, "Failed to connect to remote host: Connection refused"),
        (REFUSED, TritonTls(), False, "Failed to connect to remote host: Connection refused"),
        (NO_NAME, None, False, NO_NAME),
        ("Deadline Exceeded", None, False, "Deadline Exceeded"),
        ("", None, False, ""),
    ],
)
def test_grpcs_text_is_explained(detail: str, tls: TritonTls | None, final: bool, said: str) -> None:
    explained = explain(detail, Link(parse_target("triton:8001"), tls))
    assert said in explained
    assert "last error" not in explained
    assert is_final(detail) is final
