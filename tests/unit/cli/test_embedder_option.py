"""Catalogs built and changed with the embedder that is named, or that they were made with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sightline_server.app import engine as engine_module
from sightline_server.app.further_embedders import further_embedders, with_embedder
from sightline_server.cli.catalog_build import build_with_engine
from sightline_server.cli.catalog_upsert import write_with_engine
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog
from sightline_server.ingest.build import BuildOptions
from sightline_server.settings import EngineSettings, Settings
from sightline_server.stages.decode import DecodeLimits
from tests.support.catalogs import row, unit_vectors, write_catalog, write_feed, write_picture
from tests.support.lens import FakeEngine

WIDE = EmbedderSpec("wide", "1", 24, 24, 12, sha256="f" * 64)
SETTINGS = Settings(engine=EngineSettings(embedders=("embedder-wide", "embedder-other")))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The further embedders of each engine that was started."""
    started: list[tuple[str, ...]] = []

    @asynccontextmanager
    async def session(settings: Settings) -> AsyncIterator[FakeEngine]:
        started.append(further_embedders(settings))
        yield FakeEngine(embedder_wide=WIDE)

    monkeypatch.setattr(engine_module, "engine_session", session)
    return started


def options_of(folder: Path) -> BuildOptions:
    write_picture(folder / "one.png", 90)
    rows = [{"id": "one", "title": "One", "image_link": "one.png"}]
    limits = DecodeLimits(1 << 20, 1 << 20, 64)
    return BuildOptions(write_feed(folder / "feed.csv", rows), folder / "out", limits)


@pytest.mark.parametrize(
    ("text", "spec", "further"),
    [
        (None, FakeEngine().embedder, ()),
        ("embedder", FakeEngine().embedder, ()),
        ("embedder-wide", WIDE, ("embedder-wide",)),
        ("wide", WIDE, ("embedder-wide", "embedder-other")),
        (WIDE.identity, WIDE, ("embedder-wide", "embedder-other")),
    ],
)
async def test_a_catalog_is_built_by_the_embedder_that_is_named(
    tmp_path: Path, served: list[tuple[str, ...]], text: str | None, spec: EmbedderSpec, further: tuple[str, ...]
) -> None:
    report = await build_with_engine(SETTINGS, options_of(tmp_path), text)
    assert (report.facts.embedder, report.products) == (spec, 1)
    assert open_catalog(tmp_path / "out").vectors.shape == (1, spec.dimension)
    assert served == [further]


async def test_an_unknown_embedder_builds_nothing(tmp_path: Path, served: list[tuple[str, ...]]) -> None:
    with pytest.raises(SightlineError, match="no embedder 'third'; the engine serves embedder"):
        await build_with_engine(SETTINGS, options_of(tmp_path), "third")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("served")
async def test_products_are_added_by_the_embedder_of_their_catalog(tmp_path: Path) -> None:
    write_catalog(tmp_path / "out", [row("old", unit_vectors(1, 0, WIDE.dimension))], WIDE)
    options = options_of(tmp_path)
    with LivingCatalog(tmp_path / "out") as living:
        report = await write_with_engine(SETTINGS, options, living)
    assert report.products == 1
    assert open_catalog(tmp_path / "out", WIDE).vectors.shape == (2, WIDE.dimension)


@pytest.mark.usefixtures("served")
async def test_a_catalog_of_an_embedder_that_is_not_there_is_left_alone(tmp_path: Path) -> None:
    third = EmbedderSpec("third", "1", 24, 24, 9, sha256="c" * 64)
    write_catalog(tmp_path / "out", [row("old", unit_vectors(1, 0, 9))], third)
    with (
        LivingCatalog(tmp_path / "out") as living,
        pytest.raises(SightlineError, match=r"made with another embedder: third@c+ in the catalog, the engine serves"),
    ):
        await write_with_engine(SETTINGS, options_of(tmp_path), living)


def test_only_the_name_of_a_folder_limits_what_is_started() -> None:
    assert with_embedder(SETTINGS, "some name").engine.embedders == SETTINGS.engine.embedders
    assert with_embedder(SETTINGS, "some name").engine.text_encoders == ()
    assert further_embedders(with_embedder(SETTINGS, "embedder-new")) == ("embedder-new",)
