"""Builds and writes that keep local features: each product's images have theirs, whatever row brought them first."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from sightline_server.catalog.originals import Originals, originals_size
from sightline_server.catalog.originals_file import FEATURE_FILES, keeps_originals
from sightline_server.cli.catalog import app
from sightline_server.domain.feature_bytes import decode, encode
from sightline_server.domain.image import Frame
from sightline_server.domain.search_defaults import SearchDefaults
from sightline_server.index.kept_features import feature_key, needed_features
from sightline_server.index.living import LivingCatalog
from sightline_server.index.stored_rows import stored_rows
from sightline_server.ingest.build import BuildOptions, BuildReport, Progress, build_catalog
from sightline_server.ingest.upsert import upsert_feed
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.local_features.describing import image_features
from tests.support.catalogs import BUILT, SPEC, row, shade_embed, unit_vectors, write_catalog, write_feed
from tests.support.pictures import blocks

LIMITS = DecodeLimits(1 << 20, 1 << 20, 480)


def features(seed: int) -> bytes:
    return encode(image_features(Frame(blocks(seed))))


def shop_feed(folder: Path, *rows: tuple[str, list[int]]) -> Path:
    for seed in {seed for _, seeds in rows for seed in seeds}:
        Image.fromarray(blocks(seed)).save(folder / f"{seed}.png")
    links = [(product, [f"{seed}.png" for seed in seeds]) for product, seeds in rows]
    feed = [
        {"id": name, "image_link": first, "additional_image_link": ",".join(more)} for name, [first, *more] in links
    ]
    return write_feed(folder / "feed.csv", feed)


async def build(folder: Path, feed: Path, **changes: Any) -> BuildReport:
    return await build_catalog(BuildOptions(feed, folder / "shop", LIMITS, **changes), SPEC, shade_embed, BUILT)


def stored(shop: Path) -> dict[str, list[bytes | None]]:
    """By product, the features of its images."""
    store = Originals(shop, FEATURE_FILES)
    rows = [each for batch in stored_rows(shop).checked() for each in batch]
    found = {
        each.product.id: [store.content(feature_key(each.product.id, link)) for link in each.images] for each in rows
    }
    store.close()
    return found


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_images_of_these_tests_have_features() -> None:
    decoded = decode(features(1))
    assert decoded is not None
    assert len(decoded) > 10
    assert features(1) != features(2)


async def test_a_build_keeps_the_features_of_every_image(tmp_path: Path) -> None:
    rows = [("one", [1, 2]), *((f"more{n}", [2]) for n in range(40)), ("last", [1])]
    await build(tmp_path, shop_feed(tmp_path, *rows), local_features=True)
    found = stored(tmp_path / "shop")
    assert found["one"] == [features(1), features(2)]
    assert found["last"] == [features(1)], "its image was embedded for an earlier row"
    assert all(found[f"more{n}"] == [features(2)] for n in range(40))
    size = originals_size(tmp_path / "shop", FEATURE_FILES)
    assert size is not None
    assert size.files == 2


@pytest.mark.parametrize(("before", "asked", "kept"), [(False, None, False), (True, None, True), (True, False, False)])
async def test_a_replacing_build_does_as_the_catalog_did(
    tmp_path: Path, before: bool, asked: bool | None, kept: bool
) -> None:
    feed = shop_feed(tmp_path, ("one", [1]))
    await build(tmp_path, feed, local_features=before)
    assert keeps_originals(tmp_path / "shop", FEATURE_FILES) is before
    await build(tmp_path, feed, local_features=asked, replace=True)
    assert keeps_originals(tmp_path / "shop", FEATURE_FILES) is kept
    assert not keeps_originals(tmp_path / "shop")


@pytest.mark.parametrize(
    ("configured", "stated", "expected"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, True)],
)
async def test_a_new_catalog_keeps_features_as_the_embedders_configuration_says(
    tmp_path: Path, configured: bool, stated: bool | None, expected: bool
) -> None:
    spec = replace(SPEC, search=SearchDefaults(local_features=configured))
    options = BuildOptions(shop_feed(tmp_path, ("one", [1])), tmp_path / "shop", LIMITS, local_features=stated)
    await build_catalog(options, spec, shade_embed, BUILT)
    assert keeps_originals(tmp_path / "shop", FEATURE_FILES) is expected
    for again in (None, stated):
        await build_catalog(replace(options, replace=True, local_features=again), spec, shade_embed, BUILT)
        assert keeps_originals(tmp_path / "shop", FEATURE_FILES) is (expected or (again is None and configured))


async def test_an_upsert_replaces_features_and_what_is_deleted_loses_them(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    await build(tmp_path, shop_feed(tmp_path, ("one", [1]), ("two", [2])), local_features=True)
    Image.fromarray(blocks(3)).save(tmp_path / "1.png")
    with LivingCatalog(shop) as living:
        options = BuildOptions(write_feed(tmp_path / "again.csv", [{"id": "one", "image_link": "1.png"}]), shop, LIMITS)
        await upsert_feed(options, SPEC, shade_embed, living, Progress())
        living.delete(["two"])
        living.checkpoint()
        assert stored(shop) == {"one": [features(3)]}
        assert len(needed_features(shop)) == 2, "an earlier revision has the other product"
        living.compact(1)
        assert len(needed_features(shop)) == 1
    size = originals_size(shop, FEATURE_FILES)
    assert size is not None
    assert size.files == 1


def test_a_product_that_is_not_described_keeps_what_its_image_had(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write_catalog(shop, [row("p", unit_vectors(1))])
    with LivingCatalog(shop) as living:
        living.features.switch(True)
        made = row("p", unit_vectors(1, 3))
        living.upsert([replace(made, features=(living.features.add(b"some"),))])
        living.upsert([made])
        living.checkpoint()
        assert stored(shop) == {"p": [b"some"]}
        living.features.switch(False)
    assert not keeps_originals(shop, FEATURE_FILES)


@pytest.mark.parametrize("changed", [False, True])
async def test_info_and_verify_cover_the_features(tmp_path: Path, changed: bool) -> None:
    shop = tmp_path / "shop"
    await build(tmp_path, shop_feed(tmp_path, ("one", [1, 2])), local_features=True)
    if changed:
        with LivingCatalog(shop):
            pass
    shown = command("info", shop)
    assert shown.exit_code == 0, shown.output
    assert "features    of 2 images, 0." in shown.stdout
    intact = command("verify", "--catalog", shop)
    assert intact.exit_code == 0, intact.output
    assert "local features: 2 feature files: intact" in intact.stdout
    store = Originals(shop, FEATURE_FILES)
    store._connection.execute("UPDATE contents SET content = zeroblob(3) WHERE number = 2")
    store.close()
    damaged = command("verify", "--catalog", shop)
    assert damaged.exit_code == 1
    assert "local features: file" in damaged.stderr
    assert "is not what was stored" in damaged.stderr


def test_an_upsert_to_a_server_refuses_the_option(tmp_path: Path) -> None:
    refused = command("upsert", tmp_path / "f.csv", "--catalog", "shop", "--target", "127.0.0.1:1", "--local-features")
    assert refused.exit_code == 2
    assert "server.keep_local_features" in refused.stderr


def test_keys_are_of_a_product_and_its_link() -> None:
    keys = {feature_key("a", "bc"), feature_key("ab", "c"), feature_key("a", "b"), feature_key("a\udcff", "b")}
    assert len(keys) == 4
    assert np.all([len(key) == 16 for key in keys])
