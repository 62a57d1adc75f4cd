"""Options of `catalog build` that are read by us: percentages and headers."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline_server.cli.catalog import app
from sightline_server.cli.catalog_options import fraction, parse_headers
from sightline_server.errors import ErrorKind, SightlineError


@pytest.mark.parametrize(("text", "share"), [("10", 0.1), ("10%", 0.1), (" 2.5 % ", 0.025), ("0", 0.0), ("100", 1.0)])
def test_percentages(text: str, share: float) -> None:
    assert fraction("--max-lost", text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "ten", "-1", "101", "nan", "inf", "1e400", "10 %%"])
def test_other_numbers_name_the_option(text: str) -> None:
    with pytest.raises(SightlineError, match="--max-lost") as caught:
        fraction("--max-lost", text)
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_headers_on_the_command_line_and_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("X-Shop: 1\n\nAuthorization: Bearer a:b\n")
    parsed = parse_headers(["Accept:image/webp", f"@{tmp_path / 'headers'}"])
    assert parsed == (("Accept", "image/webp"), ("X-Shop", "1"), ("Authorization", "Bearer a:b"))


@pytest.mark.parametrize(
    "line",
    [
        "secret",
        ": secret",
        "X Shop: secret",
        "X-Shop: secret\r\nHost: x",
        "X-Shop: sécret",
        "Host: secret",
        "Accept-Encoding: secret",
        "X-Shop:",
        "@/none/secret.txt",
    ],
)
def test_a_malformed_header_is_one_line_without_its_value(line: str) -> None:
    with pytest.raises(SightlineError, match="--header") as caught:
        parse_headers([line])
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert "secret" not in caught.value.message.replace("secret.txt", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--max-lost", "ten"),
        ("--max-shrink", "-1"),
        ("--header", "secret"),
        ("--user-agent", "é"),
        ("--cache-gib", "-1"),
        ("--cache-gib", "nan"),
        ("--cache-gib", "inf"),
    ],
)
def test_wrong_options_exit_with_2_before_anything_starts(tmp_path: Path, arguments: tuple[str, str]) -> None:
    (tmp_path / "feed.csv").write_text("id,image_link\n")
    command = ["build", str(tmp_path / "feed.csv"), "--out", str(tmp_path / "out"), *arguments]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert "secret" not in result.output


def test_the_help_of_build_names_every_option() -> None:
    text = CliRunner().invoke(app, ["build", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    for option in ("--max-lost", "--max-shrink", "--header", "--user-agent", "--cache", "--cache-gib"):
        assert option in text
