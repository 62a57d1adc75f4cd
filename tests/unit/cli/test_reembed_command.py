"""`sightline catalog reembed`: what it prints, how it ends, and what it refuses."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sightline_server.app import engine as engine_module
from sightline_server.cli import catalog_reembed
from sightline_server.cli.catalog import app
from sightline_server.domain.models import EmbedderSpec
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog
from sightline_server.ingest.build import BuildOptions, build_catalog
from sightline_server.ingest.embedding import engine_embed
from tests.support.catalogs import BUILT, LIMITS, write_feed, write_picture
from tests.support.lens import FakeEngine

WIDE = EmbedderSpec("wide", "1", 24, 24, 12, sha256="f" * 64)
NARROW = FakeEngine().embedder


def reembed(*arguments: object, embedder: str = "wide") -> Result:
    return CliRunner().invoke(app, ["reembed", *map(str, arguments), "--embedder", embedder])


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """The engine that the command starts."""
    fake = FakeEngine(embedder_wide=WIDE)

    @asynccontextmanager
    async def session(settings: Any) -> AsyncIterator[FakeEngine]:
        yield fake

    monkeypatch.setattr(engine_module, "engine_session", session)
    return fake


@pytest.fixture
async def shop(tmp_path: Path, engine: FakeEngine) -> Path:
    """A built catalog of 20 products."""
    rows = [{"id": f"p{number}", "image_link": f"{number}.png"} for number in range(20)]
    for number in range(20):
        write_picture(tmp_path / "images" / f"{number}.png", 10 * number)
    options = BuildOptions(write_feed(tmp_path / "images" / "feed.csv", rows), tmp_path / "shop", LIMITS)
    await build_catalog(options, NARROW, engine_embed(engine), BUILT)
    return tmp_path / "shop"


def test_the_prepared_revision_and_the_next_step_are_shown(shop: Path, tmp_path: Path) -> None:
    made = reembed(shop, "--images", tmp_path / "images")
    assert made.exit_code == 0, made.output
    first, revision, *counts = made.stdout.splitlines()
    assert first == f"{shop}: 20 products embedded by wide@ffffffffffff, 0 as before"
    assert revision.startswith("revision    2-")
    assert counts == ["products    20", "images      20"]
    assert "20 of 20 products" in made.stderr
    assert f"sightline catalog activate 2 --catalog {shop}" in made.stderr
    again = reembed(shop)
    assert again.exit_code == 0, again.output
    assert f"{shop}: revision 2 has every image of 1-" in again.stdout
    activated = CliRunner().invoke(app, ["activate", "2", "--catalog", str(shop)])
    assert activated.exit_code == 0, activated.output
    assert open_catalog(shop).facts.embedder.identity == WIDE.identity


def test_missing_images_are_reported_with_their_row_and_counted(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "images" / "3.png").unlink()
    refused = reembed(shop, "--images", tmp_path / "images")
    assert refused.exit_code == 1
    assert "row 4 (p3): 3.png: there is no such file" in refused.stderr
    assert "1 of 20 images cannot be had, and 1 product would be left out" in refused.stderr
    made = reembed(shop, "--images", tmp_path / "images", "--skip-missing")
    assert made.exit_code == 0, made.output
    assert "19 products embedded by wide@ffffffffffff, 0 as before, 1 product and 1 image left out" in made.stdout


def test_too_many_missing_images_are_refused_also_with_skipping(shop: Path, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "images" / f"{number}.png").unlink()
    arguments = (shop, "--images", tmp_path / "images", "--skip-missing")
    refused = reembed(*arguments)
    assert refused.exit_code == 1
    assert "3 of 20 products were lost (15 %)" in refused.stderr
    assert reembed(*arguments, "--max-lost", "15%").exit_code == 0


def test_ctrl_c_says_what_is_kept(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(catalog_reembed, "embed_with_engine", interrupted)
    ended = reembed(shop)
    assert ended.exit_code == 130
    assert "interrupted; what was embedded is kept for the next run" in ended.stderr


def test_a_catalog_that_another_process_writes_is_refused_at_once(shop: Path, engine: FakeEngine) -> None:
    with LivingCatalog(shop):
        refused = reembed(shop)
    assert refused.exit_code == 2
    assert "writes to the catalog" in refused.stderr and "--target HOST:PORT" in refused.stderr
    assert not engine.models["embedder-wide"].parts


def test_an_unknown_embedder_names_those_that_are_served(shop: Path) -> None:
    refused = reembed(shop, embedder="other")
    assert refused.exit_code == 2
    assert "embedder-wide (wide@ffffffffffff)" in refused.stderr


def test_the_embedder_of_the_catalog_has_nothing_to_do(shop: Path) -> None:
    refused = reembed(shop, embedder="embedder")
    assert refused.exit_code == 2
    assert f"is embedded by {NARROW.identity} already" in refused.stderr


def test_a_folder_without_a_catalog_is_refused(tmp_path: Path) -> None:
    refused = reembed(tmp_path / "none")
    assert refused.exit_code == 2
    assert "there is no catalog at" in refused.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--images", "."), "--images cannot be given with --target"),
        (("--header", "a: b", "--allow-private-images"), "--header, --allow-private-images cannot be given"),
        (("--max-lost", "2.5"), "whole percentage"),
        (("--max-lost", "7"), "--target needs the command"),
    ],
)
def test_options_of_this_machine_are_refused_for_a_server(options: tuple[str, ...], message: str) -> None:
    refused = reembed("shop", "--target", "127.0.0.1:1", *options)
    assert refused.exit_code == 2
    assert message in refused.stderr
