"""Builds that keep the original images, and those that do not."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from sightline_server.catalog.originals import Originals, originals_size
from sightline_server.catalog.originals_file import keeps_originals
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.originals import row_keys
from sightline_server.index.stored_rows import stored_rows
from sightline_server.ingest.build import BuildOptions, BuildReport, build_catalog
from tests.support.catalogs import BUILT, LIMITS, SPEC, shade_embed, write_feed, write_picture


async def build(folder: Path, feed: Path, **changes: Any) -> BuildReport:
    return await build_catalog(BuildOptions(feed, folder / "shop", LIMITS, **changes), SPEC, shade_embed, BUILT)


def shop_feed(folder: Path) -> Path:
    for shade in (10, 20, 30):
        write_picture(folder / f"{shade}.png", shade)
    (folder / "copy.png").write_bytes((folder / "30.png").read_bytes())
    (folder / "broken.png").write_bytes(b"not an image")
    rows = [
        {"id": "one", "image_link": "10.png", "additional_image_link": "20.png,broken.png"},
        {"id": "same", "image_link": "10.png", "additional_image_link": ""},
        *({"id": f"more{n}", "image_link": "20.png", "additional_image_link": "30.png"} for n in range(40)),
        {"id": "copy", "image_link": "copy.png", "additional_image_link": ""},
        {"id": "lost", "image_link": "broken.png", "additional_image_link": ""},
    ]
    return write_feed(folder / "feed.csv", rows)


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if "shop" in path.name]


def contents(shop: Path) -> dict[str, list[bytes | None]]:
    store = Originals(shop)
    rows = [each for batch in stored_rows(shop).checked() for each in batch]
    found = {each.product.id: list(map(store.content, row_keys(each))) for each in rows}
    store.close()
    return found


async def test_a_build_keeps_each_file_once(tmp_path: Path) -> None:
    await build(tmp_path, shop_feed(tmp_path), keep_originals=True)
    shades = {shade: (tmp_path / f"{shade}.png").read_bytes() for shade in (10, 20, 30)}
    size = originals_size(tmp_path / "shop")
    assert size is not None
    assert (size.files, size.content_bytes) == (3, sum(map(len, shades.values())))
    found = contents(tmp_path / "shop")
    assert (found["one"], found["same"], found["copy"]) == ([shades[10], shades[20]], [shades[10]], [shades[30]])
    assert {tuple(found[f"more{n}"]) for n in range(40)} == {(shades[20], shades[30])}


@pytest.mark.parametrize(("asked", "kept"), [(None, False), (False, False), (True, True)])
async def test_a_first_build_keeps_files_only_when_asked(tmp_path: Path, asked: bool | None, kept: bool) -> None:
    await build(tmp_path, shop_feed(tmp_path), keep_originals=asked)
    assert keeps_originals(tmp_path / "shop") is kept


@pytest.mark.parametrize(("before", "asked", "kept"), [(True, None, True), (True, False, False), (False, None, False)])
async def test_a_replacing_build_does_as_the_catalog_did(
    tmp_path: Path, before: bool, asked: bool | None, kept: bool
) -> None:
    feed = shop_feed(tmp_path)
    await build(tmp_path, feed, keep_originals=before)
    await build(tmp_path, feed, keep_originals=asked, replace=True)
    assert keeps_originals(tmp_path / "shop") is kept
    if kept:
        assert None not in [file for files in contents(tmp_path / "shop").values() for file in files]


async def test_a_full_disk_ends_the_build_and_leaves_nothing(tmp_path: Path) -> None:
    feed = shop_feed(tmp_path)
    full = SightlineError(ErrorKind.OVERLOADED, "the disk is full; free some space")
    for step in ("add", "link", "seal"):
        with patch.object(Originals, step, side_effect=full), pytest.raises(SightlineError, match="free some space"):
            await build(tmp_path, feed, keep_originals=True)
        assert left(tmp_path) == []
