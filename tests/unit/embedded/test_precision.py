"""The choice of bf16: what is in its way, what the gate lets pass, and what is stored."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline_models.sources import sha256_of
from sightline_server.embedded import checks, precision_choice, precision_gate, precision_store
from sightline_server.embedded.config import EmbeddedConfig
from sightline_server.embedded.host import EmbeddedHost, in_words
from sightline_server.embedded.installation import BF16, CPU, Installation
from sightline_server.embedded.precision import Comparison, Precision, Precisions, cpu_has_bf16, decided, obstacle
from sightline_server.errors import ErrorKind, SightlineError
from tests.support.tiny_models import build_repository

GOOD = Comparison("embedder", "1" * 64, True, True, "lowest cosine 0.99950 of 13 embeddings", 20.0, 11.0)
MODELS = ("detector", "embedder")


def engine(folder: Path, build: str = BF16) -> Installation:
    return Installation(folder / "engine", "3.11", "/lib", build=build)


@pytest.fixture
def fitting_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_choice, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(checks, "cpu_has_bf16", lambda: True)


@pytest.mark.parametrize(
    ("flags", "fits"),
    [
        ("fpu avx2 avx512f avx512_bf16 fma", True),
        ("fpu avx512f amx_bf16 amx_tile", True),
        ("fpu avx2 avx512f avx512_vnni", False),
        ("fpu xavx512_bf16", False),
        ("", False),
    ],
)
def test_cpu_is_known_by_its_flags(tmp_path: Path, flags: str, fits: bool) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nmodel name\t: Any\nflags\t\t: {flags}\nvmx flags\t: avx512_bf16\n")
    assert cpu_has_bf16(info) is fits
    assert not cpu_has_bf16(tmp_path / "none")


@pytest.mark.parametrize(
    ("asked", "build", "cpu_fits", "reason"),
    [
        (Precision.FLOAT32, BF16, True, "engine.precision is float32"),
        (Precision.AUTO, BF16, False, "the CPU has no bf16"),
        (Precision.AUTO, CPU, True, "sightline engine install --bf16"),
        (Precision.AUTO, BF16, True, ""),
        (Precision.BF16, BF16, True, ""),
    ],
)
def test_what_keeps_models_in_float32_is_named(
    tmp_path: Path, asked: Precision, build: str, cpu_fits: bool, reason: str
) -> None:
    found = obstacle(asked, engine(tmp_path, build), cpu_fits=cpu_fits)
    assert reason in found
    assert bool(found) == bool(reason)


@pytest.mark.parametrize(
    ("changes", "chosen"),
    [
        ({}, Precision.BF16),
        ({"same": False}, Precision.FLOAT32),
        ({"possible": False}, Precision.FLOAT32),
        ({"bf16_ms": 19.5}, Precision.FLOAT32),
        ({"float32_ms": 1.0, "bf16_ms": 0.1}, Precision.FLOAT32),
    ],
)
def test_auto_takes_bf16_for_the_same_answers_in_less_time(changes: dict[str, Any], chosen: Precision) -> None:
    found = replace(GOOD, **changes)
    assert found.chosen is chosen
    assert decided(Precision.AUTO, {"embedder": found}).bf16 == ({"embedder"} if chosen is Precision.BF16 else set())


def test_bf16_by_setting_runs_slower_and_changed_models_and_says_that_they_are_changed() -> None:
    found = {"detector": replace(GOOD, model="detector", bf16_ms=99.0), "embedder": replace(GOOD, same=False)}
    decision = decided(Precision.BF16, found)
    assert decision.bf16 == {"detector", "embedder"}
    assert decision.changed == {"embedder"}
    with pytest.raises(SightlineError, match="the model embedder cannot run in it") as caught:
        decided(Precision.BF16, {"embedder": replace(GOOD, possible=False)})
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_without_the_cpu_nothing_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_choice, "cpu_has_bf16", lambda: False)
    monkeypatch.setattr(precision_choice, "compare", None)
    chosen = precision_choice.choose(Precision.AUTO, engine(tmp_path), tmp_path, tmp_path, MODELS)
    assert chosen == Precisions(reason="the CPU has no bf16")
    assert in_words(chosen) == "models run in float32: the CPU has no bf16"
    with pytest.raises(SightlineError, match=r"the CPU has no bf16\. Set engine\.precision to auto or float32"):
        precision_choice.choose(Precision.BF16, engine(tmp_path), tmp_path, tmp_path, MODELS)


@pytest.mark.usefixtures("fitting_cpu")
def test_findings_are_stored_and_used_until_model_engine_or_cpu_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = build_repository(tmp_path / "models")
    compared: list[str] = []

    def compare(installation: Installation, repository: Path, model: str) -> Comparison:
        compared.append(model)
        path = repository / model / "1" / "model.onnx"
        return replace(GOOD, model=model, sha256=sha256_of(path))

    monkeypatch.setattr(precision_choice, "compare", compare)
    said: list[str] = []

    def choose() -> Precisions:
        models = (*MODELS, "weigher")
        return precision_choice.choose(Precision.AUTO, engine(tmp_path), tmp_path, repository, models, said.append)

    assert choose().bf16 == {"detector", "embedder"}
    assert said[1] == (
        "engine: embedder: bf16 (lowest cosine 0.99950 of 13 embeddings; 20.0 ms in float32, 11.0 in bf16)"
    )
    assert choose().bf16 == {"detector", "embedder"}
    assert compared == ["detector", "embedder"]
    found = checks.precision
    monkeypatch.setattr(checks, "installation_of", lambda home: engine(home))
    assert "embedder bf16 (lowest cosine" in found(tmp_path, repository, "auto").found
    (repository / "embedder" / "1" / "model.onnx").write_bytes(b"another")
    assert found(tmp_path, repository, "auto").found.endswith("embedder not compared yet")
    choose()
    assert compared[2:] == ["embedder"]
    monkeypatch.setattr(precision_store, "cpu_fact", lambda name: "another CPU")
    choose()
    assert compared[3:] == ["detector", "embedder"]


@pytest.mark.usefixtures("fitting_cpu")
def test_home_that_cannot_be_written_or_read_costs_only_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = build_repository(tmp_path / "models")
    monkeypatch.setattr(precision_choice, "compare", lambda *_: GOOD)
    missing = tmp_path / "none"
    assert precision_choice.choose(Precision.AUTO, engine(tmp_path), missing, repository, ("embedder",)).bf16
    (tmp_path / "precision.json").write_text('{"surroundings": 1')
    assert precision_choice.choose(Precision.AUTO, engine(tmp_path), tmp_path, repository, ("embedder",)).bf16


@pytest.mark.usefixtures("fitting_cpu")
def test_comparison_that_takes_too_long_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = build_repository(tmp_path / "models")

    def late(*_: object) -> Comparison:
        raise TimeoutError

    def choose() -> Precisions:
        return precision_choice.choose(Precision.AUTO, engine(tmp_path), tmp_path, repository, ("embedder",))

    monkeypatch.setattr(precision_choice, "compare", late)
    assert not choose().bf16
    monkeypatch.setattr(precision_choice, "compare", lambda *_: GOOD)
    assert choose().bf16


def test_embeddings_that_turn_do_not_pass() -> None:
    rng = np.random.default_rng(1)
    plain = rng.normal(size=(13, 64)).astype(np.float32)
    same, finding = precision_gate.judge_embeddings(plain, plain + rng.normal(0, 0.01, plain.shape))
    assert (same, finding.startswith("lowest cosine 0.999")) == (True, True)
    turned = plain.copy()
    turned[7] = np.roll(turned[7], 1)
    same, finding = precision_gate.judge_embeddings(plain, turned)
    assert not same


def detections(**changes: Any) -> dict[str, Any]:
    boxes = np.array([[[0.1, 0.1, 0.5, 0.5], [0.5, 0.5, 0.9, 0.9], [0.0, 0.0, 0.2, 0.2]]], np.float32)
    scores, labels = np.array([[0.9, 0.4, 0.1]], np.float32), np.array([[3, 5, 7]], np.int32)
    return {"BOXES": boxes, "SCORES": scores, "LABELS": labels, **changes}


@pytest.mark.parametrize(
    ("other", "same", "finding"),
    [
        (detections(), True, "2 of 2 boxes found again, 0 further ones"),
        (detections(SCORES=np.array([[0.88, 0.42, 0.2]], np.float32)), True, "2 of 2"),
        (detections(SCORES=np.array([[0.9, 0.2, 0.1]], np.float32)), False, "1 of 2"),
        (detections(LABELS=np.array([[3, 6, 7]], np.int32)), False, "1 of 2"),
        (detections(SCORES=np.array([[0.9, 0.4, 0.5]], np.float32)), False, "2 of 2 boxes found again, 1 further"),
        (detections(BOXES=detections()["BOXES"] + np.float32(0.05)), False, "0 of 2"),
        (detections(BOXES=detections()["BOXES"] + np.float32(0.002)), True, "2 of 2"),
    ],
)
def test_boxes_are_compared_as_sets(other: dict[str, Any], same: bool, finding: str) -> None:
    found = precision_gate.judge_boxes(detections(), other)
    assert found[0] is same
    assert finding in found[1]


def test_order_of_boxes_does_not_count_and_nothing_to_compare_does_not_pass() -> None:
    turned = {name: array[:, ::-1] for name, array in detections().items()}
    assert precision_gate.judge_boxes(detections(), turned)[0]
    empty = detections(SCORES=np.zeros((1, 3), np.float32))
    assert precision_gate.judge_boxes(empty, empty) == (False, "0 of 0 boxes found again, 0 further ones")


@pytest.mark.parametrize(("height", "width"), [(416, 416), (260, 260), (33, 64)])
def test_images_of_the_comparison_differ_and_fit_the_model(height: int, width: int) -> None:
    images = precision_gate.gate_images(height, width)
    assert images.shape == (13, height, width, 3)
    assert images.dtype == np.dtype(np.uint8)
    assert len({image.tobytes() for image in images}) == 13


def test_planted_bad_answers_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = build_repository(tmp_path)
    plain = np.random.default_rng(2).normal(size=(13, 8)).astype(np.float32)
    bad = {"float32/EMBEDDINGS": plain, "float32/ms": np.float64(20), "bf16/ms": np.float64(5)}

    def gate(answer: Any) -> Comparison:
        monkeypatch.setattr(precision_gate, "run_both", lambda *_: {**bad, "bf16/EMBEDDINGS": answer})
        return precision_gate.compare(engine(tmp_path), repository, "embedder")

    assert gate(plain).chosen is Precision.BF16
    assert gate(plain[::-1]).chosen is Precision.FLOAT32
    unusable = gate(np.full_like(plain, np.nan))
    assert (unusable.possible, unusable.finding) == (False, "the answers in bf16 are not finite")


def test_program_that_fails_is_a_finding(tmp_path: Path) -> None:
    repository = build_repository(tmp_path)
    installation = engine(tmp_path)
    (installation.venv / "bin").mkdir(parents=True)
    program = installation.venv / "bin" / "python"
    program.write_text("#!/bin/sh\necho warning >&2\necho 'Fail: no such operator' >&2\nexit 3\n")
    program.chmod(0o755)
    found = precision_gate.compare(installation, repository, "detector")
    assert (found.possible, found.finding) == (False, "OpenVINO does not run it: Fail: no such operator")


def test_embedder_counts_as_another_only_when_its_answers_change(tmp_path: Path) -> None:
    repository = build_repository(tmp_path)
    host = EmbeddedHost(EmbeddedConfig(tmp_path, repository), lambda model, name, precision: None)
    plain = host.digest("embedder", "1")
    host._precisions = Precisions(frozenset({"embedder"}))
    assert host.digest("embedder", "1") == plain
    host._precisions = Precisions(frozenset({"embedder"}), frozenset({"embedder"}))
    assert host.digest("embedder", "1") != plain
    assert host.digest("detector", "1") != host.digest("embedder", "1")
