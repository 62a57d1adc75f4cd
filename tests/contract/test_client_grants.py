"""Grants that the client signs, against servers that require them; and the commands that make them."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from sightline_client import (
    AsyncClient,
    ClientOptions,
    ConfigurationError,
    Done,
    FailedPreconditionError,
    InvalidRequestError,
    PermissionDeniedError,
    RetryOptions,
    UnavailableError,
    grants,
)
from tests.support.asking import PHOTO
from tests.support.fake_lens import FakeLens, status_of
from tests.support.fake_lens import serving as serving_script
from tests.support.grants import AUDIENCE, ISSUER, ConsentService
from tests.support.lens import Served, serving


@pytest.fixture(params=["EdDSA", "ES256"])
def signer(request: pytest.FixtureRequest, tmp_path: Path) -> grants.GrantSigner:
    path = tmp_path / "consent-key.json"
    grants.write_key(path, grants.new_key(request.param))
    return grants.GrantSigner.read(path, issuer=ISSUER, audience=AUDIENCE)


@asynccontextmanager
async def requiring(signer: grants.GrantSigner, folder: Path) -> AsyncIterator[tuple[Served, AsyncClient]]:
    """A server that requires grants of `signer`, and a client of it."""
    service = ConsentService(folder)
    service.path.write_text(grants.public_keys(signer.key))
    async with serving(consent=service.settings()) as served, AsyncClient(served.address) as client:
        yield served, client


async def test_a_signed_grant_allows_one_search(signer: grants.GrantSigner, tmp_path: Path) -> None:
    async with requiring(signer, tmp_path) as (_, client):
        with pytest.raises(FailedPreconditionError) as missing:
            await client.find(PHOTO)
        assert missing.value.reason == "GRANT_MISSING"
        grant = signer.grant(PHOTO, catalog="default", act="tap", notice="2026-11", rate="pseudonym")
        assert isinstance([event async for event in client.search(memoryview(PHOTO), grant=grant)][-1], Done)
        with pytest.raises(PermissionDeniedError) as used:
            await client.find(PHOTO, grant=grant)
        assert used.value.reason == "GRANT_REPLAYED"
        assert grant not in str(used.value) + repr(signer)


async def test_a_bad_grant_is_refused_before_its_photo_is_read(signer: grants.GrantSigner, tmp_path: Path) -> None:
    async with requiring(signer, tmp_path) as (served, client):
        expired = signer.grant(PHOTO, now=1_000_000)
        with pytest.raises(PermissionDeniedError) as caught:
            await client.find(PHOTO, grant=expired)
        assert caught.value.reason == "GRANT_EXPIRED"
        assert served.value("request_bytes") == 0


@pytest.mark.parametrize("grant", ["", "two words", "caf\u00e9", 7, b"bytes", "line\n"])
async def test_what_is_no_grant_is_not_sent_and_not_repeated(grant: Any) -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.find(PHOTO, grant=grant)
    assert [each.field for each in caught.value.violations] == ["grant"]
    assert not str(grant) or str(grant) not in caught.value.one_line()


async def test_a_grant_that_an_attempt_used_up_does_not_hide_what_ended_it() -> None:
    """The first attempt fails after the grant was used, so the second is refused for that."""
    codes = {"INDEX_UNAVAILABLE": grpc.StatusCode.UNAVAILABLE, "GRANT_REPLAYED": grpc.StatusCode.PERMISSION_DENIED}
    refusals = [
        [status_of(code, "refused", error_details_pb2.ErrorInfo(reason=reason, domain="sightline"))]
        for reason, code in codes.items()
    ]
    async with serving_script(FakeLens(lambda number: refusals[number - 1])) as target:
        options = ClientOptions(target, retry=RetryOptions(first_delay_s=0.0))
        async with AsyncClient(options) as client:
            with pytest.raises(UnavailableError) as caught:
                await client.find(PHOTO, grant="grant")
    assert caught.value.reason == "INDEX_UNAVAILABLE"


@pytest.mark.parametrize("seconds", [0, -1, 121, True, 1.5])
def test_a_lifetime_out_of_range_is_refused(signer: grants.GrantSigner, seconds: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        signer.grant(PHOTO, lifetime_s=seconds)


def test_the_hash_is_of_the_bytes_that_are_sent() -> None:
    assert grants.photo_hash(b"abc") == "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
    assert grants.photo_hash(memoryview(b"aXbXc")[::2]) == grants.photo_hash(bytearray(b"abc"))
    with pytest.raises(InvalidRequestError, match="bytes of an image file"):
        grants.photo_hash("room.jpg")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda path: path.unlink(), "cannot read"),
    "readable by others": (lambda path: path.chmod(0o640), "chmod 600"),
    "not JSON": (lambda path: path.write_text("{s3cr3t"), "holds no key"),
    "public": (lambda path: path.write_text(public_part(path)), "public key"),
    "of another curve": (
        lambda path: path.write_text('{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"s3cr3t"}'),
        "holds no key",
    ),
}


def public_part(path: Path) -> str:
    key = json.loads(path.read_text())
    return json.dumps({name: value for name, value in key.items() if name != "d"})


@pytest.mark.parametrize("name", DAMAGES)
def test_a_key_that_cannot_sign_is_refused_without_its_content(tmp_path: Path, name: str) -> None:
    damage, said = DAMAGES[name]
    path = tmp_path / "key.json"
    grants.write_key(path, grants.new_key())
    damage(path)
    with pytest.raises(ConfigurationError) as caught:
        grants.read_key(path)
    assert said in str(caught.value) and "s3cr3t" not in str(caught.value)


def test_a_key_is_private_and_replaces_no_file(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    grants.write_key(path, grants.new_key("ES256"))
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError, match="File exists"):
        grants.write_key(path, grants.new_key())
    assert '"d"' not in grants.public_keys(grants.read_key(path))


def sightline(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sightline_client.cli", *arguments]
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_commands_make_a_key_and_a_grant(tmp_path: Path) -> None:
    (tmp_path / "room.jpg").write_bytes(PHOTO)
    made = sightline("grant", "keygen", "key.json", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    assert [set(key) for key in json.loads(made.stdout)["keys"]] == [{"kty", "crv", "x", "kid", "use", "alg"}]
    options = ("--key", "key.json", "--issuer", ISSUER, "--audience", AUDIENCE, "--act", "tap")
    issued = sightline("grant", "issue", "room.jpg", *options, folder=tmp_path)
    assert issued.returncode == 0, issued.stderr
    assert [len(part) > 40 for part in issued.stdout.strip().split(".")] == [True] * 3
    assert "room.jpg" not in issued.stdout
