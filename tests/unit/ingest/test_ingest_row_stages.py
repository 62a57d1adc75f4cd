"""An exception in any stage of a row costs that row, or a part of it, and never the build."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline_server.index.catalog import open_catalog
from sightline_server.ingest import catalog_rows, feed, preparation
from sightline_server.ingest.build import BuildOptions, BuildReport, build_catalog
from sightline_server.ingest.feeds import delimited, exporters, image_links, json_objects, parquet, rows, xml_items
from sightline_server.ingest.feeds.columns import gathered
from sightline_server.ingest.images import ImageSource
from sightline_server.stages import photo_threads
from sightline_server.stages.decode import DecodeLimits, Isolated, Prepared, prepare_here
from tests.support.catalogs import BUILT, LIMITS, SPEC, shade_embed, write_picture

IDS = [f"p{number}" for number in range(5)]
BAD = "p2"
"""The product for which a planted function fails."""


class PlantedError(Exception):
    """Not an error that any of our code knows."""


def plant(monkeypatch: pytest.MonkeyPatch, holder: Any, name: str) -> None:
    """Lets the function `name` of `holder` fail where one of its arguments is about the product `BAD`."""
    real: Callable[..., Any] = getattr(holder, name)

    def planted(*arguments: Any, **options: Any) -> Any:
        if BAD in "".join(map(described, (*arguments, *options.values()))):
            raise PlantedError("secret")
        return real(*arguments, **options)

    monkeypatch.setattr(holder, name, planted)


def described(value: object) -> str:
    """A text that names the products that `value` is about."""
    if isinstance(value, list | tuple):
        return "".join(map(described, value))
    if isinstance(value, dict) and any(isinstance(each, np.ndarray) for each in value.values()):
        return ""  # the embeddings of a whole group
    if isinstance(value, xml_items.Element):
        return "".join(value.texts) + described([child for *_, child in value.children])
    parts = ("text", "fields", "values", "product", "path", "_record", "row", "images", "id")
    found = {name: getattr(value, name, "") for name in parts}
    return str(value) + "".join(str(part) for part in found.values())


def as_csv(folder: Path) -> Path:
    lines = ["id,title,image_link", *(f"{name},Title,{name}.png" for name in IDS)]
    (folder / "feed.csv").write_text("\n".join(lines))
    return folder / "feed.csv"


def as_shopify(folder: Path) -> Path:
    lines = ["Handle,Title,Image Src", *(f"{name},Title,{name}.png" for name in IDS)]
    (folder / "feed.csv").write_text("\n".join(lines))
    return folder / "feed.csv"


def as_jsonl(folder: Path) -> Path:
    lines = [json.dumps({"id": name, "title": "Title", "image_link": f"{name}.png"}) for name in IDS]
    (folder / "feed.jsonl").write_text("\n".join(lines))
    return folder / "feed.jsonl"


def as_json(folder: Path) -> Path:
    listed = [{"id": name, "title": "Title", "image_link": f"{name}.png"} for name in IDS]
    (folder / "feed.json").write_text(json.dumps(listed))
    return folder / "feed.json"


def as_xml(folder: Path) -> Path:
    items = "".join(f"<item><id>{name}</id><image_link>{name}.png</image_link></item>" for name in IDS)
    (folder / "feed.xml").write_text(f"<rss><channel>{items}</channel></rss>")
    return folder / "feed.xml"


def as_parquet(folder: Path) -> Path:
    pq.write_table(pa.table({"id": IDS, "image_link": [f"{name}.png" for name in IDS]}), folder / "feed.parquet")
    return folder / "feed.parquet"


async def build(feed_path: Path) -> BuildReport:
    for number, name in enumerate(IDS):
        write_picture(feed_path.parent / f"{name}.png", 10 + 40 * number)
    options = BuildOptions(feed=feed_path, out=feed_path.parent / "out" / "shop", decode=LIMITS)
    return await build_catalog(options, SPEC, shade_embed, BUILT)


STAGES = {
    "split into fields": (as_csv, rows, "next_row"),
    "record of a line": (as_csv, delimited, "to_record"),
    "product of several lines": (as_shopify, exporters, "joined"),
    "record of a JSON line": (as_jsonl, json_objects, "to_record"),
    "names of a JSON line": (as_jsonl, json_objects, "named"),
    "record of a JSON object": (as_json, json_objects, "to_record"),
    "record of an item": (as_xml, xml_items, "repeated_name"),
    "element of an item": (as_xml, xml_items, "name_of"),
    "record of a Parquet row": (as_parquet, parquet, "to_record"),
    "texts": (as_csv, feed, "texts_of"),
    "links": (as_csv, image_links, "split_links"),
    "product": (as_csv, feed, "Product"),
    "link of an image": (as_csv, preparation, "classify"),
    "key of an image": (as_csv, preparation, "key_of"),
    "image": (as_csv, ImageSource, "use"),
    "link that is published": (as_csv, preparation, "publishable_link"),
    "product that is published": (as_csv, preparation, "published"),
    "catalog row": (as_csv, catalog_rows, "catalog_row"),
    "columns": (as_csv, catalog_rows, "to_table"),
}


@pytest.mark.parametrize("stage", STAGES)
async def test_exception_in_a_stage_costs_the_row_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    write, holder, name = STAGES[stage]
    plant(monkeypatch, holder, name)
    report = await build(write(tmp_path))
    published = open_catalog(tmp_path / "out" / "shop").display["id"].to_pylist()
    assert published == [each for each in IDS if each != BAD]
    [problem] = report.problems
    assert problem.skipped
    assert "secret" not in str(problem)
    assert report.losses.rows == len(IDS)
    assert report.losses.rows_lost == 1


async def test_exception_of_a_decoder_costs_the_image_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(photo: bytes, limits: DecodeLimits) -> Prepared | Isolated:
        if photo == (tmp_path / f"{BAD}.png").read_bytes():
            raise PlantedError("secret")
        return prepare_here(photo, limits)

    monkeypatch.setattr(photo_threads, "prepare_here", failing)
    report = await build(as_csv(tmp_path))
    assert [str(problem) for problem in report.problems] == [
        f"row 4 ({BAD}): {BAD}.png: the image cannot be read (PlantedError)"
    ]


def test_row_with_many_image_columns_is_gathered_in_linear_time() -> None:
    """Squared, this would take minutes."""
    found = gathered(("additional_image_link", f"{number}.jpg") for number in range(200_000))
    assert found == {"additional_image_link": [f"{number}.jpg" for number in range(200_000)]}
