"""The options that choose the engine: each sets the setting of its name, for `serve`, `catalog build` and `upsert`."""

import json
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from sightline_server.cli.catalog import app as catalog
from sightline_server.cli.serve import app as serve
from sightline_server.settings import EngineSettings
from tests.support.authority import Authority
from tests.support.catalogs import row, unit_vectors, write_catalog

WITH_TRITON = {"triton_url": "triton.example:8001"}
VALUES: dict[str, tuple[str | None, object]] = {
    "triton_url": ("triton.example:8001", "triton.example:8001"),
    "triton_tls": (None, True),
    "triton_tls_ca": ("ca.pem", "ca.pem"),
    "triton_tls_cert": ("client.pem", "client.pem"),
    "triton_tls_key": ("client.key", "client.key"),
    "triton_tls_name": ("triton", "triton"),
    "triton_insecure": (None, True),
    "device": ("cpu", "cpu"),
    "repository": ("models", "models"),
}
"""Setting -> the value on the command line (None for a switch), and the value of the setting."""


def option(setting: str) -> list[str]:
    """The arguments that set `setting`."""
    value = VALUES[setting][0]
    return [f"--{setting.replace('_', '-')}", *([] if value is None else [value])]


def printed(*arguments: str) -> dict[str, dict[str, object]]:
    """The settings of `serve` with these arguments."""
    result = CliRunner().invoke(serve, [*arguments, "--print-config"])
    assert result.exit_code == 0, result.output
    settings: dict[str, dict[str, object]] = json.loads(result.stdout)
    return settings


@pytest.mark.parametrize("setting", VALUES)
def test_an_option_sets_the_setting_of_its_name_and_no_other(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests' servers run in float32.
    monkeypatch.delenv("SIGHTLINE_ENGINE__PRECISION", raising=False)
    engine = printed(*option(setting))["engine"]
    assert engine[setting] == VALUES[setting][1]
    defaults = EngineSettings().model_dump(mode="json")
    assert {name for name, value in engine.items() if value != defaults[name]} == {setting}


def test_an_option_overrides_a_variable_and_a_switch_that_is_not_given_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIGHTLINE_ENGINE__TRITON_TLS_CA", "other.pem")
    monkeypatch.setenv("SIGHTLINE_ENGINE__TRITON_TLS", "true")
    engine = printed("--triton-tls-ca", "ca.pem")["engine"]
    assert (engine["triton_tls_ca"], engine["triton_tls"]) == ("ca.pem", True)


def test_the_log_level_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_LOG__LEVEL", "ERROR")
    assert printed("--log-level", "DEBUG")["log"] == {"level": "DEBUG", "json_lines": False}
    assert printed()["log"]["level"] == "ERROR"


@pytest.mark.parametrize(
    ("arguments", "setting"), [(("--device", "tpu"), "engine.device"), (("--log-level", "LOUD"), "log.level")]
)
def test_a_wrong_value_names_the_setting(arguments: tuple[str, str], setting: str) -> None:
    result = CliRunner().invoke(serve, [*arguments, "--print-config"])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"sightline: setting {setting}: ")


@pytest.mark.parametrize("setting", ["triton_tls_ca", "triton_tls_cert", "triton_tls_key"])
@pytest.mark.parametrize("verb", ["build", "upsert"])
def test_a_command_that_embeds_reads_the_tls_files_of_its_options(verb: str, setting: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = {
        "triton_tls_ca": authority.root,
        "triton_tls_cert": authority.cert,
        "triton_tls_key": authority.key,
        setting: tmp_path / "missing.pem",
    }
    (tmp_path / "feed.csv").write_text("id,title,image_link\n1,Cup,cup.jpg\n")
    write_catalog(tmp_path / "shop", [row("p1", unit_vectors(1))])
    folder = {"build": ("--out", str(tmp_path / "out")), "upsert": ("--catalog", str(tmp_path / "shop"))}[verb]
    given = [each for name, path in files.items() for each in (f"--{name.replace('_', '-')}", str(path))]
    arguments = [verb, str(tmp_path / "feed.csv"), *folder, *option("triton_url"), *given]
    result = CliRunner().invoke(catalog, arguments)
    assert result.exit_code == 2
    assert result.stderr == f"sightline: cannot read {tmp_path / 'missing.pem'}: No such file or directory\n"


@pytest.mark.parametrize("verb", ["build", "upsert"])
def test_a_command_that_embeds_has_every_option_of_serve_that_chooses_the_engine(verb: str) -> None:
    command = get_command(catalog).commands[verb]  # type: ignore[attr-defined]
    assert {name for name in VALUES if name not in {each.name for each in command.params}} == set()
