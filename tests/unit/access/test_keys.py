"""API keys, their file and the command: what is stored, shown, accepted and refused."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline_server.access.api_keys import KEY, KeyRing, StoredKeys, new_key, parse_keys
from sightline_server.access.key_file import change_keys, read_keys
from sightline_server.access.principal import UnidentifiedError
from sightline_server.cli.keys import app
from sightline_server.errors import SightlineError

RUN = CliRunner()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def run(*arguments: object) -> tuple[int, str, str]:
    done = RUN.invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.stdout, done.stderr


def ring(file: Path) -> KeyRing:
    return parse_keys(read_keys(file))


def test_a_new_key_is_shown_once_and_only_its_hash_is_stored(file: Path) -> None:
    code, key, said = run("new", "app", "--file", file, "--note", "phones")
    key = key.strip()
    assert code == 0 and KEY.fullmatch(key)
    assert key not in said
    assert file.stat().st_mode & 0o777 == 0o600
    assert key[17:] not in file.read_text()
    assert ring(file).principal(key, time.time()) == "app"
    code, listed, _ = run("list", "--file", file)
    assert code == 0 and "app  valid" in listed and "phones" in listed
    code, listed, _ = run("list", "--file", file, "--json")
    [facts] = json.loads(listed)["keys"]
    assert (facts["id"], facts["state"]) == (key[4:16], "valid")
    assert "sha256" not in facts


def test_a_revoked_key_is_refused_and_stays_in_the_list(file: Path) -> None:
    keys = [run("new", "app", "--file", file)[1].strip() for _ in range(2)]
    assert run("revoke", keys[0][4:16], "--file", file)[0] == 0
    with pytest.raises(UnidentifiedError):
        ring(file).principal(keys[0], time.time())
    assert ring(file).principal(keys[1], time.time()) == "app"
    assert run("list", "--file", file)[1].count("revoked") == 1
    assert run("revoke", "0" * 12, "--file", file)[0] == 2


def test_a_key_ends_when_its_days_are_over(file: Path) -> None:
    key = run("new", "app", "--file", file, "--days", 2)[1].strip()
    assert ring(file).principal(key, time.time() + 86_400) == "app"
    with pytest.raises(UnidentifiedError):
        ring(file).principal(key, time.time() + 2 * 86_400 + 2)


@pytest.mark.parametrize("name", ["", "a b", "anonymous", "ä", "x" * 64])
def test_a_name_that_no_policy_can_have_gets_no_key(name: str, file: Path) -> None:
    assert run("new", "--file", file, "--", name)[0] == 2
    assert not file.exists()


def test_commands_at_the_same_time_lose_no_key(file: Path) -> None:
    def add(_: int) -> None:
        key = new_key("app", 0.0, None, "")[1]
        change_keys(file, lambda keys: StoredKeys(keys=[*keys.keys, key]))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(12)))
    assert len(ring(file).keys) == 12
    assert os.listdir(file.parent) == ["keys.json"]


@pytest.mark.parametrize("mode", [0o644, 0o606, 0o660, 0o620])
def test_a_file_that_others_reach_is_refused(file: Path, mode: int) -> None:
    run("new", "app", "--file", file)
    file.chmod(mode)
    with pytest.raises(SightlineError, match="chmod 600"):
        read_keys(file)
    assert run("new", "app", "--file", file)[0] == 2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"keys": {}}',
        '{"keys": [{"id": "0123456789ab"}]}',
        '{"keys": [], "more": 1}',
        '{"keys": [{"id": "0123456789ab", "principal": "app", "sha256": "c4nary", "created": 1}]}',
        '{"keys": ' + "[" * 5000,
    ],
)
def test_a_file_that_is_not_one_of_keys_is_refused_without_its_content(content: str) -> None:
    with pytest.raises(SightlineError) as caught:
        parse_keys(content.encode())
    assert "c4nary" not in caught.value.message


def test_two_keys_with_one_id_are_refused() -> None:
    key = new_key("app", 0.0, None, "")[1]
    with pytest.raises(SightlineError, match="same id"):
        parse_keys(StoredKeys(keys=[key, key]).model_dump_json().encode())


def test_a_failed_write_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("new", "app", "--file", file)
    before = file.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, shown, said = run("new", "app", "--file", file)
    assert (code, shown) == (2, "")
    assert "No space left" in said
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == ["keys.json"]
