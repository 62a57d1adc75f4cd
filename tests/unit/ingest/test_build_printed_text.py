"""Builds that read the text of images: it is stored with their local features, and costs nothing else when it fails."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sightline_server.catalog.originals_file import FEATURE_FILES, keeps_originals
from sightline_server.domain.printed_text_models import TextDetectorSpec, TextReaderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.served_features import served_features
from sightline_server.ingest.build import BuildOptions, BuildReport, build_catalog
from sightline_server.stages.decode import DecodeLimits
from sightline_server.stages.photo_threads import PhotoThreads
from sightline_server.stages.printed_text.characters import ReadLine
from sightline_server.stages.printed_text.reading import PrintedTextModels, TextReading
from tests.support.catalogs import BUILT, SPEC, shade_embed, write_feed
from tests.support.pictures import blocks

LIMITS = DecodeLimits(1 << 20, 1 << 20, 480)
Pixels = NDArray[np.uint8]


def reading(failure: Exception | None = None) -> Any:
    """Reads the mean level of the line in the middle of an image; raises `failure` if set."""

    async def find(image: Pixels, deadline: float | None) -> Pixels:
        assert deadline is None
        found = np.zeros((64, 64), np.uint8)
        found[28:34, 10:50] = 250
        return found

    async def read(lines: Sequence[Pixels], deadline: float | None) -> Sequence[ReadLine]:
        if failure is not None:
            raise failure
        return [ReadLine(f"level {int(line[:, :30].mean()) // 100}", 0.9) for line in lines]

    models = PrintedTextModels(TextDetectorSpec("d", "1", 64, 64), TextReaderSpec("r", "1", 16, 96, 12), find, read)

    def made(threads: PhotoThreads) -> TextReading:
        return TextReading(models, threads, most_lines=4, min_confidence=0.5)

    return made


def shop_feed(folder: Path) -> Path:
    for name, pixels in (("dark", np.full((96, 96, 3), 20, np.uint8)), ("bright", np.full((96, 96, 3), 250, np.uint8))):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    Image.fromarray(blocks(1)).save(folder / "print.png")
    rows = [{"id": name, "image_link": f"{name}.png"} for name in ("dark", "bright", "print")]
    return write_feed(folder / "feed.csv", [*rows, {"id": "again", "image_link": "dark.png"}])


async def build(folder: Path, read_text: Any, **changes: Any) -> BuildReport:
    options = BuildOptions(shop_feed(folder), folder / "shop", LIMITS, **changes)
    return await build_catalog(options, SPEC, shade_embed, BUILT, read_text=read_text)


def texts(folder: Path) -> dict[str, str | None]:
    """By product, the stored text of its image."""
    kept = served_features(folder / "shop")
    assert kept is not None
    names = {"dark": "dark", "bright": "bright", "print": "print", "again": "dark"}
    found = kept.of([(product, f"{image}.png") for product, image in names.items()])
    return {name: None if each is None else each.text for name, each in zip(names, found, strict=True)}


async def test_the_text_of_every_image_is_stored(tmp_path: Path) -> None:
    await build(tmp_path, reading(), local_features=True)
    found = texts(tmp_path)
    assert (found["dark"], found["again"], found["bright"]) == ("level 0", "level 0", "level 2")
    assert found["print"] is not None


async def test_without_reading_there_is_no_text(tmp_path: Path) -> None:
    await build(tmp_path, None, local_features=True)
    assert set(texts(tmp_path).values()) == {None}


async def test_a_catalog_without_local_features_reads_nothing(tmp_path: Path) -> None:
    await build(tmp_path, reading(AssertionError("read")))
    assert not keeps_originals(tmp_path / "shop", FEATURE_FILES)


@pytest.mark.parametrize("failure", [SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "gone"), ValueError("what it read")])
async def test_a_failure_costs_the_text_alone(
    failure: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        report = await build(tmp_path, reading(failure), local_features=True)
    assert (report.products, report.problems) == (4, ())
    assert set(texts(tmp_path).values()) == {None}
    assert "the text of an image of a product was not read" in caplog.text
    assert "what it read" not in caplog.text
