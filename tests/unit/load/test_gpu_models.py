"""The CPU mode of the models' script, at its smallest: both models once in the engine's own environment."""

import json
from pathlib import Path

import pytest

from load_tests.gpu import models
from tests.support.engine import sightline_home


@pytest.mark.engine
def test_the_cpu_mode_times_both_models_beside_their_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--cpu", "--home", str(sightline_home()), "--batches", "1", "--seconds", "0.01"]
    monkeypatch.setattr("sys.argv", ["models", *options, "--out", str(tmp_path)])
    monkeypatch.setattr(models, "cpu_ceiling", lambda: models.Ceiling(1e12, 1e12, "a test's"))
    assert models.main() == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    for name, gflop in (("detector", 6.915), ("embedder", 1.73)):
        assert record[name]["provider"] == "CPUExecutionProvider"
        assert record[name]["gflop_per_picture"] == gflop
        assert record[name]["batches"][0]["floor_ms"] == pytest.approx(gflop, rel=0.01)
        assert record[name]["batches"][0]["p50_ms"] > 0
