"""The files of access from the settings: what switches them on, what does not fit, and what a worker begins with."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey
from pydantic import ValidationError

from sightline_server.access.file_in_use import MAX_BYTES
from sightline_server.app.access import JWKS, POLICY, open_access_files
from sightline_server.cli.access_check import access
from sightline_server.domain.checks import Verdict
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import Settings
from tests.support.tokens import Entrance, add_key

CATALOGS = {name: {"path": f"/{name}"} for name in ("default", "shop")}


@pytest.fixture
def entrance(tmp_path: Path) -> Entrance:
    return Entrance(tmp_path)


def settings(access: dict[str, Any], **parts: Any) -> Settings:
    server = {"tls_client_ca": "/ca.pem", **parts.pop("server", {})}
    return Settings.model_validate({"access": access, "catalogs": CATALOGS, "server": server, **parts})


def refusal(access: dict[str, Any], **parts: Any) -> str:
    with pytest.raises(SightlineError) as caught:
        open_access_files(settings(access, **parts))
    assert caught.value.kind is ErrorKind.CONFIGURATION
    return caught.value.message


def test_without_a_policy_nothing_is_opened() -> None:
    assert open_access_files(settings({})) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"policy_file": None, "jwks_file": None}, "keys_file needs policy_file"),
        ({"policy_file": None, "keys_file": None}, "jwks_file needs policy_file"),
        ({"jwt_issuer": ""}, "jwks_file needs jwt_issuer and jwt_audience"),
        ({"jwt_audience": ""}, "jwks_file needs jwt_issuer and jwt_audience"),
        ({"jwt_algorithms": ["none"]}, "jwt_algorithms"),
        ({"jwt_algorithms": ["HS256"]}, "jwt_algorithms"),
        ({"jwt_algorithms": []}, "jwt_algorithms"),
        ({"jwt_leeway_s": -1}, "jwt_leeway_s"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(entrance: Entrance, change: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings({**entrance.settings, **change})


def test_a_policy_that_needs_what_the_server_does_not_have_is_refused(entrance: Entrance) -> None:
    without_tokens = {**entrance.settings, "jwks_file": None}
    assert refusal(without_tokens).endswith("`subjects` need access.jwks_file, which verifies tokens")
    assert "`certificates` need server.tls_client_ca" in refusal(entrance.settings, server={"tls_client_ca": None})
    assert "this server has no catalog 'shop'" in refusal(entrance.settings, catalogs={"default": {"path": "/x"}})


def test_a_catalog_may_be_named_before_it_is_created(entrance: Entrance) -> None:
    server = {"catalogs_folder": "/catalogs", "catalog_listen": "127.0.0.1:0"}
    assert open_access_files(settings(entrance.settings, catalogs={"default": {"path": "/x"}}, server=server))


def test_the_extra_for_tokens_is_named_where_it_is_missing(entrance: Entrance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sightline_server.access.tokens", None)
    assert refusal(entrance.settings).endswith('needs joserfc: pip install "sightline[jwt]"')
    entrance.policy.write_text('[principals.app]\ncatalogs = ["*"]\nmethods = ["*"]\n')
    assert open_access_files(settings({**entrance.settings, "jwks_file": None}))


@pytest.mark.parametrize("which", ["policy", "keys", "issuer"])
def test_a_file_that_cannot_be_read_at_the_start_ends_it(entrance: Entrance, which: str) -> None:
    path = entrance.issuer.path if which == "issuer" else getattr(entrance, which)
    path.unlink()
    assert str(path) in refusal(entrance.settings)
    path.mkdir()
    assert str(path) in refusal(entrance.settings)
    path.rmdir()
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert f"{path} has more than" in refusal(entrance.settings)


def test_a_worker_that_starts_while_a_file_is_broken_gets_what_its_parent_has(entrance: Entrance) -> None:
    parent = open_access_files(settings(entrance.settings))
    assert parent is not None
    outcomes: list[tuple[str, bool]] = []
    entrance.policy.write_text("broken")
    worker = open_access_files(
        settings(entrance.settings), initial=parent.contents, on_check=lambda *found: outcomes.append(found)
    )
    assert worker is not None
    assert worker.policy.value == parent.policy.value
    assert (POLICY, False) in outcomes and (JWKS, True) in outcomes


def jwks(*keys: Any, private: bool = False) -> dict[str, Any]:
    return dict(KeySet(list(keys)).as_dict(private=private))


def ed(**more: Any) -> OKPKey:
    parameters: Any = {"kid": "one", **more}
    return OKPKey.generate_key("Ed25519", parameters)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "it is not a JWKS"),
        ({"keys": {}}, "`keys` is not a list"),
        ({"keys": []}, "no public key for EdDSA, ES256, RS256"),
        ({"keys": ["x"]}, "key 1 is not a JSON object"),
        (jwks(ed(), private=True), "key 1 is a private key"),
        (jwks(ed(), ed()), "key 2 has the `kid` of another key"),
        (
            {"keys": [{"kty": "RSA", "kid": "one", "e": "AQAB", "n": "w" * 171}]},
            "key 1 is too short; an RSA key needs 2048",
        ),
        ({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": "c4nary"}]}, "key 1 cannot be read"),
        ({"keys": [{"kty": "EC", "crv": "P-256", "kid": "one", "x": "AA", "y": "AA"}]}, "key 1 cannot be read"),
        (jwks(OctKey.generate_key(256, {"kid": "one"}), private=True), "no public key for"),
        (jwks(ed(use="enc")), "no public key for"),
        (jwks(ed(alg="Ed448")), "no public key for"),
    ],
)
def test_a_jwks_that_cannot_be_used_is_refused_without_its_content(entrance: Entrance, content: Any, said: str) -> None:
    entrance.issuer.path.write_text(json.dumps(content))
    message = refusal(entrance.settings)
    assert said in message
    assert "c4nary" not in message


def test_a_key_of_another_kind_next_to_a_good_one_is_left_out(entrance: Entrance) -> None:
    keys = [*jwks(ed(), ECKey.generate_key("P-256", {"kid": "two"}))["keys"], {"kty": "AKP", "kid": "three"}]
    entrance.issuer.path.write_text(json.dumps({"keys": keys}))
    files = open_access_files(settings(entrance.settings))
    assert files is not None and files.tokens is not None
    found: Any = files.tokens.value
    assert set(found.keys) == {"one", "two"}


def test_the_doctor_reports_files_that_cannot_be_used_and_keys_of_nobody(entrance: Entrance) -> None:
    assert list(access(settings({}))) == []
    [good] = access(settings(entrance.settings))
    assert (good.verdict, good.found) == (Verdict.OK, "2 principals, 1 API key")
    add_key(entrance.keys, "ghost")
    [warned] = access(settings(entrance.settings))
    assert warned.verdict is Verdict.WARN and "keys for ghost are refused" in warned.found
    entrance.policy.write_text("broken")
    [failed] = access(settings(entrance.settings))
    assert failed.verdict is Verdict.FAIL and str(entrance.policy) in failed.found
