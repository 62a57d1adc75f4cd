"""`sightline adapt`: what it embeds, prints and stores, and what it refuses.

The engine is a fake that embeds the mean colour; the shop's photos have a blue cast, as under one lamp.
"""

import csv
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from sightline_server.app import engine as engine_module
from sightline_server.catalog.log import read_current
from sightline_server.catalog.revisions import RevisionKind
from sightline_server.cli import adapt as adapt_module
from sightline_server.cli.adapt import app
from sightline_server.cli.catalog import app as catalog_app
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog
from sightline_server.index.milvus.binding import Binding
from sightline_server.ingest.build import BuildOptions, build_catalog
from sightline_server.ingest.embedding import engine_embed
from tests.support.catalogs import BUILT, LIMITS, write_feed
from tests.support.lens import FakeEngine

PRODUCTS = 24
PHOTOS = 120
Colour = tuple[int, int, int]


def adapt(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def catalog(*arguments: object) -> Result:
    return CliRunner().invoke(catalog_app, [*map(str, arguments)])


def draw(path: Path, colour: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), tuple(round(float(each)) for each in colour)).save(path)


def colours() -> Any:
    """A colour for each product, on a circle, so that directions differ."""
    angles = np.linspace(0, 2 * np.pi, PRODUCTS, endpoint=False)
    circle = np.column_stack([np.cos(angles), np.sin(angles), np.sin(2 * angles)])
    return 128 + 90 * circle


def under_a_lamp(colour: Any, chance: np.random.Generator) -> Any:
    return np.clip(0.35 * (colour - 128) + np.array([90, 110, 200]) + chance.normal(0, 2, 3), 0, 255)


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """The engine that the command starts."""
    fake = FakeEngine()

    @asynccontextmanager
    async def session(settings: Any) -> AsyncIterator[FakeEngine]:
        yield fake

    monkeypatch.setattr(engine_module, "engine_session", session)
    return fake


@pytest.fixture
async def shop(tmp_path: Path, engine: FakeEngine) -> Path:
    """A built catalog, its photos in `photos`, and their labels in `photos/labels.csv`."""
    rows = [{"id": f"p{number}", "image_link": f"{number}.png"} for number in range(PRODUCTS)]
    for number, colour in enumerate(colours()):
        draw(tmp_path / "images" / f"{number}.png", colour)
    options = BuildOptions(write_feed(tmp_path / "images" / "feed.csv", rows), tmp_path / "shop", LIMITS)
    await build_catalog(options, engine.embedder, engine_embed(engine), BUILT)
    chance = np.random.default_rng(1)
    for number in range(PHOTOS):
        draw(tmp_path / "photos" / f"{number:03}.png", under_a_lamp(colours()[number % PRODUCTS], chance))
    with (tmp_path / "photos" / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "product_id"])
        table.writerows([f"{number:03}.png", f"p{number % PRODUCTS}"] for number in range(PHOTOS))
    return tmp_path / "shop"


@pytest.fixture
def photos(shop: Path) -> Path:
    return shop.parent / "photos"


def test_photos_without_labels_give_an_adapter_as_a_revision(shop: Path, photos: Path) -> None:
    made = adapt(shop, "--photos", photos)
    assert made.exit_code == 0, made.output
    assert "centred" in made.stdout and "different products first" in made.stdout
    assert "revision    2-" in made.stdout
    current = read_current(shop)
    assert (current.kind, current.note) == (RevisionKind.ADAPTED, "adapter centred from 120 photos")
    assert open_catalog(shop).adapter is not None
    assert f"adapter     {current.adapter[:12]}, centred, fitted from 120 photos" in catalog("info", shop).stdout


def test_whole_photos_are_embedded_once_each(shop: Path, photos: Path, engine: FakeEngine) -> None:
    before = len(engine.models["embedder"].parts)
    assert adapt(shop, "--photos", photos, "--regions", "whole").exit_code == 0
    assert len(engine.models["embedder"].parts) - before == PHOTOS


def test_labels_give_right_answers_before_and_after(shop: Path, photos: Path) -> None:
    made = adapt(shop, "--labels", photos / "labels.csv", "--json")
    assert made.exit_code == 0, made.output
    report = json.loads(made.stdout)
    assert report["kept"] is True
    assert [each["method"] for each in report["tried"]] == ["centred", "head"]
    rates = report["adapter"]["hit@1"]
    assert rates["after"] > rates["before"]
    assert report["revision"] == read_current(shop).name
    assert "hit@1" in read_current(shop).note


def test_a_dry_run_stores_nothing(shop: Path, photos: Path) -> None:
    made = adapt(shop, "--labels", photos / "labels.csv", "--dry-run")
    assert made.exit_code == 0, made.output
    assert "dry run" in made.stdout
    assert not (shop / "log.sqlite").exists()
    assert open_catalog(shop).adapter is None


def test_an_adapter_is_removed_and_rolled_back_like_any_revision(shop: Path, photos: Path) -> None:
    assert adapt(shop, "--photos", photos).exit_code == 0
    removed = adapt(shop, "--remove")
    assert removed.exit_code == 0
    assert "vectors are searched as they are" in removed.stdout
    assert open_catalog(shop).adapter is None
    assert catalog("rollback", 2, "--catalog", shop).exit_code == 0
    assert open_catalog(shop).adapter is not None
    assert "adapted" in catalog("revisions", "--catalog", shop).stdout
    assert catalog("verify", "--catalog", shop, "--all").exit_code == 0


def test_there_may_be_nothing_to_remove(shop: Path) -> None:
    refused = adapt(shop, "--remove")
    assert refused.exit_code == 2
    assert "has no adapter" in refused.stderr
    assert not (shop / "log.sqlite").exists()


def test_what_brings_nothing_is_not_stored(shop: Path, photos: Path) -> None:
    with (photos / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "product_id"])
        mixed = np.random.default_rng(0).permutation(PHOTOS)
        table.writerows([f"{number:03}.png", f"p{mixed[number] % PRODUCTS}"] for number in range(PHOTOS))
    made = adapt(shop, "--labels", photos / "labels.csv")
    assert made.exit_code == 1
    assert "the labels fit the photos no better than labels by chance" in made.stderr
    assert "no adapter is stored" in made.stderr
    assert open_catalog(shop).adapter is None
    report = json.loads(adapt(shop, "--labels", photos / "labels.csv", "--json").stdout)
    assert (report["kept"], report["tried"], report["labels"]["fit"]) == (False, [], False)


def test_one_photo_a_product_is_enough_and_what_is_printed_says_why(
    shop: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline_server.ingest.adapting.choosing.LEAST_LABELLED", PRODUCTS)
    rows = (photos / "labels.csv").read_text().splitlines()
    (photos / "labels.csv").write_text("\n".join(rows[: 1 + PRODUCTS]))
    made = adapt(shop, "--labels", photos / "labels.csv")
    assert made.exit_code == 0, made.output
    assert f"of {PRODUCTS} photos, of products that it had not seen: a real gain (chance explains it in" in made.stdout
    assert "products that no photo showed" not in made.stdout


def test_too_few_photos_are_refused_before_the_engine_starts(shop: Path, photos: Path, engine: FakeEngine) -> None:
    before = len(engine.models["embedder"].parts)
    for number in range(99, PHOTOS):
        (photos / f"{number:03}.png").unlink()
    refused = adapt(shop, "--photos", photos)
    assert refused.exit_code == 2
    assert "there are 99 photos" in refused.stderr
    assert len(engine.models["embedder"].parts) == before


def test_photos_that_cannot_be_read_are_named_and_left_out(shop: Path, photos: Path) -> None:
    (photos / "000.png").write_bytes(b"no image")
    made = adapt(shop, "--photos", photos, "--json")
    assert made.exit_code == 0, made.output
    assert "000.png: " in made.stderr
    report = json.loads(made.stdout)
    assert report["adapter"]["left_out"] == 1
    assert (report["adapter"]["photos"], report["adapter"]["objects"]) == (119, 238)


def test_a_person_is_not_embedded(shop: Path, photos: Path, engine: FakeEngine) -> None:
    people = {"BOXES": [[[0.0, 0.0, 1.0, 1.0]]], "SCORES": [[0.9]], "LABELS": [[2]]}
    types = {"BOXES": np.float32, "SCORES": np.float32, "LABELS": np.int32}

    def only_people(batch: int) -> Any:
        return {name: np.repeat(np.array(value, types[name]), batch, axis=0) for name, value in people.items()}

    engine.models["detector"].usual = lambda parts: only_people(len(parts))
    before = len(engine.models["embedder"].parts)
    refused = adapt(shop, "--labels", photos / "labels.csv")
    assert refused.exit_code == 2
    assert "it shows nothing that is searched" in refused.stderr
    assert len(engine.models["embedder"].parts) == before


@pytest.mark.parametrize(
    "options",
    [(), ("--photos", ".", "--labels", "labels.csv"), ("--photos", ".", "--remove"), ("--remove", "--dry-run")],
)
def test_options_that_contradict_each_other_are_refused(shop: Path, options: tuple[str, ...]) -> None:
    refused = adapt(shop, *options)
    assert refused.exit_code == 2
    assert "--photos" in refused.stderr


def test_a_folder_without_a_catalog_is_refused(tmp_path: Path) -> None:
    for option in (("--photos", "."), ("--remove",)):
        refused = adapt(tmp_path / "none", *option)
        assert refused.exit_code == 2
        assert "there is no catalog at" in refused.stderr


def test_a_catalog_that_another_process_writes_is_refused_before_embedding(
    shop: Path, photos: Path, engine: FakeEngine
) -> None:
    before = len(engine.models["embedder"].parts)
    with LivingCatalog(shop):
        refused = adapt(shop, "--photos", photos)
    assert refused.exit_code == 2
    assert "writes to the catalog" in refused.stderr
    assert len(engine.models["embedder"].parts) == before


def test_ctrl_c_leaves_the_catalog_as_it_was(shop: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(adapt_module, "fitted", interrupted)
    stopped = adapt(shop, "--photos", photos)
    assert stopped.exit_code == 130
    assert "interrupted; the catalog is as it was" in stopped.stderr
    assert open_catalog(shop).adapter is None


def test_neither_photos_nor_embeddings_are_stored(shop: Path, photos: Path, engine: FakeEngine) -> None:
    before = len(engine.models["embedder"].parts)
    assert adapt(shop, "--photos", photos, "--regions", "whole").exit_code == 0
    stored = b"".join(path.read_bytes() for path in shop.rglob("*") if path.is_file())
    for crop in engine.models["embedder"].parts[before:]:
        raw = np.array([*crop.reshape(-1, 3).mean(axis=0), 1.0], np.float32)
        embedding = raw / np.linalg.norm(raw)
        assert embedding.tobytes() not in stored
        assert embedding.astype(np.float16).tobytes() not in stored


def test_an_adapted_catalog_has_no_other_index_and_is_not_pushed(shop: Path, photos: Path) -> None:
    assert adapt(shop, "--photos", photos).exit_code == 0
    assert "the catalog has an adapter" in catalog("index", shop).stdout
    pushed = catalog("push", shop, "--to", "milvus", "--uri", "http://127.0.0.1:1")
    assert pushed.exit_code == 2
    assert "has an adapter" in pushed.stderr


def test_a_catalog_with_a_copy_in_milvus_is_refused(shop: Path, photos: Path, engine: FakeEngine) -> None:
    before = len(engine.models["embedder"].parts)
    Binding("sightline_shop__1", epoch=1, seq=0).write(shop)
    refused = adapt(shop, "--photos", photos)
    assert refused.exit_code == 2
    assert "has a copy in Milvus" in refused.stderr
    assert len(engine.models["embedder"].parts) == before
