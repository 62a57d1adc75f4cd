"""The weights of ranking that a server starts with: from the file next to an embedder, of the settings, or shipped."""

import json
from pathlib import Path
from typing import Any

import pytest

from sightline_models.ranking_weights import FILE, place_weights, shipped_weights
from sightline_server.app.ranking_weights import by_identity, check_weights, read_weights, served_weights
from sightline_server.cli.weights_check import ranking_weights
from sightline_server.domain.checks import Verdict
from sightline_server.domain.embedders import ServedEmbedders, embedder_role
from sightline_server.domain.models import EMBEDDER, EmbedderSpec
from sightline_server.domain.weights import Weights, parse_weights
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.settings import Settings

SHIPPED = parse_weights(shipped_weights())
OWN = Weights(0.4, 0.2, 0.1)


def settings_of(repository: Path, **local_features: Any) -> Settings:
    return Settings(engine={"repository": repository}, local_features=local_features)  # type: ignore[arg-type]


def write(path: Path, weights: Weights | None = OWN) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("no JSON" if weights is None else json.dumps(weights.facts()))
    return path


def test_the_file_next_to_the_embedder_counts(tmp_path: Path) -> None:
    written = write(tmp_path / "embedder" / FILE)
    found = read_weights(settings_of(tmp_path))
    assert (found.weights, found.path) == (OWN, written)


def test_a_repository_without_the_file_has_the_shipped_weights(tmp_path: Path) -> None:
    found = read_weights(settings_of(tmp_path))
    assert (found.weights, found.path) == (SHIPPED, None)


def test_each_embedder_has_its_own_file(tmp_path: Path) -> None:
    write(tmp_path / "embedder-wide" / FILE)
    first, wide = (
        EmbedderSpec("first", "1", 4, 4, 4, sha256="a" * 64),
        EmbedderSpec("wide", "1", 4, 4, 8, sha256="b" * 64),
    )
    embedders = ServedEmbedders.of([(EMBEDDER, first), (embedder_role("embedder-wide"), wide)])
    found = served_weights(settings_of(tmp_path), embedders)
    assert found == {"embedder": SHIPPED, "embedder-wide": OWN}
    assert by_identity(found, embedders) == {first.identity: SHIPPED, wide.identity: OWN}


def test_a_remote_engine_has_the_shipped_weights_unless_the_settings_name_a_file(tmp_path: Path) -> None:
    write(tmp_path / "embedder" / FILE)
    engine = {"repository": tmp_path, "triton_url": "triton:8001"}
    assert read_weights(Settings(engine=engine)).weights == SHIPPED  # type: ignore[arg-type]
    chosen = {"weights": tmp_path / "embedder" / FILE}
    assert read_weights(Settings(engine=engine, local_features=chosen)).weights == OWN  # type: ignore[arg-type]


def test_settings_replace_single_weights_and_the_file(tmp_path: Path) -> None:
    write(tmp_path / "embedder" / FILE)
    found = read_weights(settings_of(tmp_path, contribution=0.3, colour_contribution=0.0)).weights
    assert found == Weights(0.3, 0.0, 0.1)
    other = write(tmp_path / "other.json", Weights(0.1))
    assert read_weights(settings_of(tmp_path, weights=other)).weights == Weights(0.1)


@pytest.mark.parametrize("named", [True, False])
def test_a_file_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path, named: bool) -> None:
    path = write(tmp_path / "embedder" / FILE, None)
    settings = settings_of(tmp_path, **({"weights": path} if named else {}))
    with pytest.raises(SightlineError, match="it is not JSON") as refused:
        read_weights(settings)
    assert refused.value.kind is ErrorKind.CONFIGURATION
    assert str(path) in refused.value.message
    assert ("local_features.weights" if named else "sightline models pull") in refused.value.message
    (check,) = ranking_weights(settings)
    assert (check.verdict, check.found) == (Verdict.FAIL, refused.value.message)


def test_the_file_of_every_served_embedder_is_checked_before_the_engine_starts(tmp_path: Path) -> None:
    check_weights(settings_of(tmp_path / "none"))
    write(tmp_path / "embedder" / FILE)
    damaged = write(tmp_path / "embedder-wide" / FILE, None)
    with pytest.raises(SightlineError, match="it is not JSON") as refused:
        check_weights(settings_of(tmp_path))
    assert str(damaged) in refused.value.message
    # One that is not served, or that no file of the repository counts for, keeps nothing from starting.
    check_weights(Settings(engine={"repository": tmp_path, "embedders": ()}))  # type: ignore[arg-type]
    check_weights(settings_of(tmp_path, weights=tmp_path / "embedder" / FILE))


def test_a_file_that_the_settings_name_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match=r"none\.json cannot be used: there is no such file"):
        read_weights(settings_of(tmp_path, weights=tmp_path / "none.json"))
    with pytest.raises(SightlineError, match="it cannot be read"):
        read_weights(settings_of(tmp_path, weights=tmp_path))


def test_doctor_names_the_weights_of_each_embedder(tmp_path: Path) -> None:
    write(tmp_path / "embedder" / FILE)
    (tmp_path / "embedder-wide").mkdir()
    first, wide = ranking_weights(settings_of(tmp_path))
    assert (first.name, first.verdict) == ("ranking weights", Verdict.OK)
    assert first.found == f"{OWN.identity} in {tmp_path / 'embedder' / FILE}"
    assert (wide.name, wide.found) == ("ranking weights, embedder-wide", f"{SHIPPED.identity}, as shipped")


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    for folder in ("embedder", "detector"):
        (tmp_path / folder).mkdir()
        place_weights(tmp_path, folder)
    assert [path.parent.name for path in tmp_path.glob(f"*/{FILE}")] == ["embedder"]
    assert (tmp_path / "embedder" / FILE).read_bytes() == shipped_weights()
    kept = write(tmp_path / "embedder" / FILE)
    place_weights(tmp_path, "embedder")
    assert parse_weights(kept.read_bytes()) == OWN
