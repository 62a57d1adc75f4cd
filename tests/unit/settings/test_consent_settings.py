"""The settings of consent: what does not fit, and that no way of naming a catalog loses the consent that it needs."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from sightline_server.cli.loading import load
from sightline_server.cli.served_catalogs import parse_catalogs
from sightline_server.domain.valkey_url import parse_valkey_url
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import Settings
from sightline_server.workers.task import Task

KEYS = {"jwks_file": "/keys.json", "issuer": "https://consent.shop.example", "audience": "sightline"}
FILE = """
[consent]
jwks_file = "/keys.json"
issuer = "https://consent.shop.example"
audience = "sightline"

[catalogs.shop]
consent = "required"
path = "/shop"

[catalogs.default]
path = "/default"
consent = "optional"
"""


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"consent": {"mode": "required"}}, "consent needs consent.jwks_file"),
        ({"catalog": {"consent": "optional"}}, "consent needs consent.jwks_file"),
        ({"catalogs": {"shop": {"path": "/shop", "consent": "required"}}}, "consent needs consent.jwks_file"),
        ({"consent": {**KEYS, "issuer": ""}}, "jwks_file needs issuer and audience"),
        ({"consent": {**KEYS, "audience": ""}}, "jwks_file needs issuer and audience"),
        ({"consent": {**KEYS, "longest_s": 121}}, "longest_s"),
        ({"consent": {**KEYS, "leeway_s": -1}}, "leeway_s"),
        ({"consent": {"mode": "on"}}, "mode"),
        ({"consent": {**KEYS, "store": "process"}, "server": {"workers": 2}}, "once in each worker"),
        ({"consent": {**KEYS, "store": "process", "store_folder": "/x"}}, "store_folder is for the store host"),
        ({"consent": {**KEYS, "store": "valkey"}}, "go together"),
        ({"valkey": {"url": "redis://localhost"}}, "go together"),
        ({"consent": {**KEYS, "store": "valkey", "store_folder": "/x"}}, "store_folder is for the store host"),
        ({"valkey": {"url": "http://localhost"}}, "not a URL of Valkey or Redis"),
        ({"valkey": {"url": "localhost:6379"}}, "not a URL of Valkey or Redis"),
        ({"valkey": {"url": "redis://me:word@localhost"}}, r"\*\*\*@localhost: a password does not belong"),
        ({"valkey": {"url": "redis://:word@localhost"}}, "a password does not belong"),
        ({"valkey": {"url": "redis://@localhost"}}, "the user before @ is missing"),
        ({"valkey": {"url": "redis://localhost/one"}}, "the number of a database"),
        ({"valkey": {"url": "redis://localhost:66000"}}, "out of range"),
        ({"valkey": {"url": "redis://unix:/run/valkey"}}, "cannot connect"),
        ({"valkey": {"url": "redis://me@localhost"}}, "the user in url needs password_file"),
        ({"valkey": {"url": "redis://localhost", "ca_file": "/ca.pem"}}, "ca_file needs TLS"),
        ({"valkey": {"password_file": "/word"}}, "need url"),
        ({"valkey": {"timeout_ms": 0}}, "timeout_ms"),
        ({"pseudonym_quota": {"photos_per_minute": 1, "burst": 61}}, "refill within an hour"),
        ({"pseudonym_quota": {"photos_per_minute": -1}}, "photos_per_minute"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(groups: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings.model_validate(groups)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("valkey://localhost", ("localhost:6379", False, "", 0)),
        ("redis://127.0.0.1:7000/5", ("127.0.0.1:7000", False, "", 5)),
        ("rediss://sight%20line@valkey.shop.example:6380/", ("valkey.shop.example:6380", True, "sight line", 0)),
        ("valkeys://[::1]", ("[::1]:6379", True, "", 0)),
    ],
)
def test_a_url_of_valkey_has_its_parts(url: str, parts: tuple[str, bool, str, int]) -> None:
    made = parse_valkey_url(url)
    assert (str(made.address), made.tls, made.user, made.database) == parts


def test_consent_is_off_by_default_and_needs_no_keys() -> None:
    assert (Settings().consent.mode, Settings().consent_of) == ("off", {})


def test_the_stricter_of_two_settings_for_one_catalog_counts() -> None:
    for first, second in (("off", "required"), ("required", "off")):
        catalogs = {"shop": {"path": "/shop", "consent": second}}
        settings = Settings.model_validate(
            {"consent": KEYS, "catalog": {"name": "shop", "path": "/shop", "consent": first}, "catalogs": catalogs}
        )
        assert settings.consent_of == {"shop": "required"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["shop=/elsewhere"], {"shop": "required", "default": "optional"}),
        (["/default"], {"default": "optional"}),
        (["default=/elsewhere", "shop=/shop"], {"shop": "required", "default": "optional"}),
        ([], {"shop": "required", "default": "optional"}),
    ],
)
def test_catalogs_of_the_command_line_keep_the_consent_of_the_file(
    tmp_path: Path, options: list[str], expected: dict[str, str]
) -> None:
    (tmp_path / "settings.toml").write_text(FILE)
    settings = load(tmp_path / "settings.toml", served=parse_catalogs(options))
    assert settings.consent_of == expected
    task = Task(number=1, settings=settings, digests={}, metrics_folder="/m", catalogs=(), tls=None, access={})
    assert Task.decode(task.encode()).settings.consent_of == expected, "and so do workers"


def test_what_is_missing_is_named_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(FILE.partition("[catalogs")[2].join(["[catalogs", ""]))
    with pytest.raises(SightlineError) as caught:
        load(tmp_path / "settings.toml")
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert "consent needs consent.jwks_file" in caught.value.message
