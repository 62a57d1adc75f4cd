"""Weights that `sightline adapt --labels` has fitted: what callers get through a real channel, and after a rollback.

The engine is a fake that embeds the mean colour. Photos have colours that say little, and the print of a product.
"""

import asyncio
import csv
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from sightline.v1 import product_pb2
from sightline_server.app import engine as engine_module
from sightline_server.catalog.log import read_current
from sightline_server.cli.adapt import app
from sightline_server.cli.catalog import app as catalog_app
from sightline_server.domain.verdict import Verdict
from sightline_server.domain.weights import Weights
from sightline_server.index.catalog import open_catalog
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.opening import open_snapshot
from sightline_server.ingest.build import BuildOptions, build_catalog
from sightline_server.ingest.embedding import engine_embed
from tests.support.asking import asked, events_of
from tests.support.catalogs import BUILT, LIMITS, write_feed
from tests.support.lens import FakeEngine, FakeSnapshot, detections, serving
from tests.support.pictures import Pixels, blocks, encode

PRODUCTS, EACH = 16, 4
FILE = Weights(0.002, 0.0, 0.05, full_inliers=40)
"""The weights in the file: too low for these photos."""


def colours() -> Any:
    angles = np.linspace(0, 2 * np.pi, PRODUCTS, endpoint=False)
    return 128 + 60 * np.column_stack([np.cos(angles), np.sin(angles), np.sin(2 * angles)])


def printed(number: int, colour: Any) -> Pixels:
    """The print of a product, in a colour."""
    pixels = 0.5 * blocks(number) + 0.5 * np.asarray(colour)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def photo_of(number: int, chance: np.random.Generator) -> Pixels:
    """A photo of a product in a light that makes it look like another one."""
    colour = colours()[number] + chance.normal(0, 30, 3)
    pixels = np.full((300, 300, 3), np.clip(colour, 0, 255), np.uint8)
    pixels[30:270, 30:270] = printed(number, colour)
    return pixels


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    """The engine of the command and of the server, which sees no objects, and the weights in the file."""
    fake = FakeEngine()
    fake.models["detector"].usual = lambda parts: detections(len(parts))

    @asynccontextmanager
    async def session(settings: Any) -> AsyncIterator[FakeEngine]:
        yield fake

    monkeypatch.setattr(engine_module, "engine_session", session)
    (tmp_path / "weights.json").write_text(json.dumps(FILE.facts()))
    monkeypatch.setenv("SIGHTLINE_LOCAL_FEATURES__WEIGHTS", str(tmp_path / "weights.json"))
    return fake


@pytest.fixture
async def shop(tmp_path: Path, engine: FakeEngine) -> Path:
    """A catalog that keeps local features, and labelled photos in `photos/labels.csv`."""
    images, photos, chance = tmp_path / "images", tmp_path / "photos", np.random.default_rng(5)
    images.mkdir()
    photos.mkdir()
    rows = [{"id": f"p{number}", "image_link": f"{number}.png"} for number in range(PRODUCTS)]
    for number, colour in enumerate(colours()):
        Image.fromarray(printed(number, colour)).save(images / f"{number}.png")
    options = BuildOptions(write_feed(images / "feed.csv", rows), tmp_path / "shop", LIMITS, local_features=True)
    await build_catalog(options, engine.embedder, engine_embed(engine), BUILT)
    with (photos / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "product_id"])
        for number in range(PRODUCTS * EACH):
            Image.fromarray(photo_of(number % PRODUCTS, chance)).save(photos / f"{number}.png")
            table.writerow([f"{number}.png", f"p{number % PRODUCTS}"])
    return tmp_path / "shop"


@pytest.fixture
def device() -> Iterator[DeviceThread]:
    thread = DeviceThread()
    yield thread
    thread.close()


def adapt(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


async def contributions(shop: Path, engine: FakeEngine, device: DeviceThread) -> tuple[str, list[tuple[int, float]]]:
    """The revision that answers, and the points and contributions of its reasons for one photo."""
    snapshot = await open_snapshot(shop, "default", engine.embedder, device)
    async with serving(engine=engine, index=snapshot, limits={"default_products": PRODUCTS}) as served:
        photo = encode(photo_of(3, np.random.default_rng(9)), "PNG")
        events = await events_of(served.search(asked(photo=photo)))
    found = []
    for product in events[2].results.products:
        assert product.score == pytest.approx(sum(each.contribution for each in product.reasons), abs=1e-6)
        for each in product.reasons:
            if each.kind == product_pb2.REASON_KIND_LOCAL_FEATURES:
                points = re.match(r"\d+", each.text)
                assert points is not None
                found.append((int(points[0]), each.contribution))
    return events[0].accepted.catalog_revision, found


def by(weights: Weights, found: list[tuple[int, float]]) -> list[tuple[int, Any]]:
    return [(points, pytest.approx(weights.of_points(points), abs=1e-6)) for points, _ in found]


def test_contributions_follow_the_fitted_weights_and_a_rollback_restores_those_before(
    shop: Path, engine: FakeEngine, device: DeviceThread
) -> None:
    labels = shop.parent / "photos" / "labels.csv"
    revision, before = asyncio.run(contributions(shop, engine, device))
    assert before and before == by(FILE, before)
    made = adapt(shop, "--labels", labels, "--json")
    assert made.exit_code == 0, made.output
    report = json.loads(made.stdout)
    assert report["weights"]["kept"] is True
    rates = report["weights"]["hit@1"]
    assert rates["after"] > rates["before"] + 0.1
    fitted = open_catalog(shop).weights
    assert fitted is not None
    assert (
        fitted.weights.local_features
        == report["weights"]["weights"]["local_features"]["after"]
        > 2 * FILE.local_features
    )
    assert (fitted.weights.printed_text, fitted.weights.full_inliers) == (0.05, 40)
    adapted, after = asyncio.run(contributions(shop, engine, device))
    assert adapted == report["revision"] != revision
    assert after and after == by(fitted.weights, after)
    assert "weights     " + fitted.weights.identity in catalog("info", shop).stdout
    assert "weights from 64 photos" in read_current(shop).note
    assert catalog("rollback", 1, "--catalog", shop).exit_code == 0
    _, restored = asyncio.run(contributions(shop, engine, device))
    assert restored == by(FILE, restored)
    assert catalog("rollback", 2, "--catalog", shop).exit_code == 0
    _, again = asyncio.run(contributions(shop, engine, device))
    assert again == by(fitted.weights, again)
    assert adapt(shop, "--remove").exit_code == 0
    _, removed = asyncio.run(contributions(shop, engine, device))
    assert removed == by(FILE, removed)


def catalog(*arguments: object) -> Result:
    return CliRunner().invoke(catalog_app, [*map(str, arguments)])


def test_a_person_reads_what_the_weights_bring(shop: Path) -> None:
    made = adapt(shop, "--labels", shop.parent / "photos" / "labels.csv", "--dry-run")
    assert made.exit_code == 0, made.output
    assert "weights    hit@1 0." in made.stdout
    assert "products that they were not fitted from: a real gain" in made.stdout
    assert "local features 0.002 -> 0." in made.stdout
    assert "weights, verdict would be stored" in made.stdout
    assert open_catalog(shop).weights is None


def test_a_file_of_weights_that_cannot_be_used_is_refused_before_the_engine_starts(
    shop: Path, engine: FakeEngine, tmp_path: Path
) -> None:
    (tmp_path / "weights.json").write_text("{}")
    before = len(engine.models["embedder"].parts)
    refused = adapt(shop, "--labels", shop.parent / "photos" / "labels.csv")
    assert refused.exit_code == 2
    assert f"the weights of ranking in {tmp_path / 'weights.json'} cannot be used: it has no version" in refused.stderr
    assert len(engine.models["embedder"].parts) == before


def test_a_catalog_without_local_features_gets_no_weights(shop: Path) -> None:
    (shop / "local_features.sqlite").unlink()
    made = adapt(shop, "--labels", shop.parent / "photos" / "labels.csv", "--json")
    assert "the catalog keeps no local features, so no weights of ranking are fitted" in made.stderr
    assert "weights" not in json.loads(made.stdout)


async def test_weights_of_zero_compare_nothing(shop: Path, engine: FakeEngine, device: DeviceThread) -> None:
    snapshot = await open_snapshot(shop, "default", engine.embedder, device)
    snapshot.weights = Weights()
    async with serving(engine=engine, index=snapshot) as served:
        events = await events_of(served.search(asked(photo=encode(photo_of(3, np.random.default_rng(9)), "PNG"))))
        kinds = {each.kind for product in events[2].results.products for each in product.reasons}
        assert kinds == {product_pb2.REASON_KIND_VISUAL_SIMILARITY}
        assert events[-1].done.timings.local_features_ms == 0


async def test_a_server_does_not_start_with_weights_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "weights.json").write_text('{"version": 9}')
    with pytest.raises(Exception, match=r"weights\.json cannot be used: it has version 9"):
        async with serving(index=FakeSnapshot()):
            pass


async def test_a_verdict_decides_on_the_level_of_the_first_product() -> None:
    clear_lead = Verdict(-5.0, 0.0, 100.0, 0.0, 0.0, neighbours=20, with_points=False)
    with_points = replace(clear_lead, with_points=True)
    for verdict, expected in ((clear_lead, "SAME_ITEM"), (with_points, "SIMILAR"), (None, "SIMILAR")):
        index = FakeSnapshot(product_count=12, verdict=verdict)
        async with serving(index=index, limits={"default_products": 3}) as served:
            events = await events_of(served.search(asked(photo=encode(np.full((60, 60, 3), 90, np.uint8)))))
            levels = [product_pb2.MatchLevel.Name(each.level) for each in events[2].results.products]
            assert levels == [f"MATCH_LEVEL_{each}" for each in (expected, "SIMILAR", "SIMILAR")]


def test_the_labels_of_a_shop_give_its_catalog_a_verdict(shop: Path, engine: FakeEngine, device: DeviceThread) -> None:
    made = adapt(shop, "--labels", shop.parent / "photos" / "labels.csv", "--json")
    report = json.loads(made.stdout)
    assert report["verdict"]["kept"] is True
    assert report["verdict"]["right"] > 0.9
    assert report["verdict"]["ece"] < 0.1
    assert "verdict     same item for" in catalog("info", shop).stdout
    known, unknown = asyncio.run(levels_of(shop, engine, device))
    assert known[0] == ("p3", product_pb2.MATCH_LEVEL_SAME_ITEM)
    assert [level for _, level in [*known[1:], *unknown] if level == product_pb2.MATCH_LEVEL_SAME_ITEM] == []


async def levels_of(shop: Path, engine: FakeEngine, device: DeviceThread) -> list[list[tuple[str, int]]]:
    """The products and their levels for a photo of a product, and for one of a print that no product has."""
    photos = (photo_of(3, np.random.default_rng(9)), unknown_print())
    snapshot = await open_snapshot(shop, "default", engine.embedder, device)
    async with serving(engine=engine, index=snapshot) as served:
        answers = [await events_of(served.search(asked(photo=encode(photo, "PNG")))) for photo in photos]
    return [[(each.product.id, each.level) for each in events[2].results.products] for events in answers]


def unknown_print() -> Pixels:
    """A photo of a print that no product has."""
    pixels = np.full((300, 300, 3), 128, np.uint8)
    pixels[30:270, 30:270] = printed(77, (128, 128, 128))
    return pixels
