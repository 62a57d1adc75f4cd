"""The options of `sightline catalog build --on ray`: what is wrong is said before anything starts."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sightline_server.cli.catalog import app
from sightline_server.errors import SightlineError
from sightline_server.ingest.on_ray.pool import require_answer
from tests.support.feeds import feed_file


def build(folder: Path, *options: str) -> Result:
    feed = feed_file(folder, "id,image_link\np1,a.jpg\n")
    return CliRunner().invoke(app, ["build", str(feed), "--out", str(folder / "out"), *options])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--on", "spark"], "--on spark: expected ray"),
        (["--address", "127.0.0.1:6379"], "--address needs --on ray"),
        (["--workers", "2"], "--workers needs --on ray"),
        (["--checkpoint", "kept"], "--checkpoint needs --on ray"),
    ],
)
def test_options_that_do_not_fit_end_with_exit_code_2(tmp_path: Path, options: list[str], text: str) -> None:
    result = build(tmp_path, *options)
    assert (result.exit_code, result.stderr) == (2, f"sightline: {text}\n")


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = build(tmp_path, "--on", "ray")
    assert result.exit_code == 2
    assert "--on ray needs Ray Data" in result.stderr
    assert "pip install 'sightline[ray]'" in result.stderr
    assert not (tmp_path / "out.embedded").exists()


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "127.0.0.1", ":6379", "127.0.0.1:port"])
def test_a_text_that_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(SightlineError, match="expected HOST:PORT of a cluster that this machine is a node of"):
        require_answer(address)


def test_an_address_where_nothing_listens_is_named() -> None:
    with pytest.raises(SightlineError, match=r"no Ray answers at 127\.0\.0\.1:1 \(Connection refused\)"):
        require_answer("127.0.0.1:1")
