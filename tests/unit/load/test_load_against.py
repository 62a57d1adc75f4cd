"""The comparison of two checkouts: what a turn's figures are made of, and how turns become ratios."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from load_tests.against import PATHS, environment, settings_of
from load_tests.generator.photos import ROOT
from load_tests.generator.records import CODES, Run
from load_tests.turns.figures import Figures, compared


def run(first: list[float], ended: list[float], codes: list[str]) -> Run:
    """Calls of 3 objects each that all begin at 1 s."""
    count, start = len(ended), np.full(len(ended), 1.0)
    return Run(
        intended=start,
        sent=start,
        accepted=start,
        detected=start,
        first=np.array(first),
        ended=np.array(ended),
        code=np.array([CODES.index(code) for code in codes]),
        objects=np.full(count, 3),
        failures=np.zeros(count, np.int64),
        request=np.arange(count),
        slow=np.zeros(count, np.int64),
    )


def test_figures_are_of_calls_that_were_answered_in_full() -> None:
    alone = run([1.1, 1.2, 0.0], [1.2, 1.4, 9.0], ["OK", "OK", "RESOURCE_EXHAUSTED"])
    loaded = run([2.0, 2.0, 2.0, 2.0], [2.0, 3.0, 4.0, 5.0], ["OK", "OK", "OK", "INTERNAL"])
    figures = Figures.of(alone, 0.3, loaded, 0.6, 4.5)
    assert figures.first_over_whole == pytest.approx(0.5)
    assert (figures.unloaded_cpu_ms, figures.loaded_cpu_ms) == (150.0, 200.0)
    assert (figures.photos_per_s, figures.mean_embed_batch) == (0.6, 4.5)


def test_ratios_are_within_a_turn() -> None:
    one = Figures(100.0, 98.0, 0.98, 200.0, 8.0, 240.0, 4.0)
    slow = Figures(*(2 * value for value in dataclasses.astuple(one)))
    other = dataclasses.replace(slow, first_result_p50_ms=98.0, photos_per_s=16.16)
    found = compared([(one, one), (slow, other), (slow, other)])
    assert found["first_result_p50_ms"] == {"before": 196.0, "after": 98.0, "ratio": 0.5, "least": 0.5, "most": 1.0}
    assert found["photos_per_s"]["ratio"] == 1.01
    assert found["unloaded_p50_ms"]["ratio"] == 1.0


def test_the_other_checkout_runs_with_our_models(tmp_path: Path) -> None:
    given = environment(tmp_path)
    assert given["PYTHONPATH"].split(":") == [str(tmp_path / folder) for folder in PATHS]
    assert all((ROOT / folder).is_dir() for folder in PATHS)
    assert given["SIGHTLINE_ENGINE__REPOSITORY"] == str(ROOT / "model_repository")


def test_settings_are_of_the_form_name_and_value() -> None:
    assert settings_of(["A=1", "B=x=y", "C="]) == {"A": "1", "B": "x=y", "C": ""}
    for wrong in ("A", "=1", ""):
        with pytest.raises(ValueError, match="has the form NAME=VALUE"):
            settings_of([wrong])
