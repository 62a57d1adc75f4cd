"""The build, with a stand-in for the embedder: what gets in, what is reported, and what is left after a failure."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.ingest.build import (
    GROUP_ROWS,
    GROUPS_AHEAD,
    BuildOptions,
    BuildReport,
    Progress,
    build_catalog,
)
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.feed import Problem, ProblemKind
from sightline_server.ingest.images import ImageSource
from tests.support.catalogs import (
    BUILT,
    LIMITS,
    SPEC,
    shade_embed,
    unit_vectors,
    write_catalog,
    write_feed,
    write_picture,
)
from tests.support.catalogs import row as catalog_row


def shop(folder: Path, products: int) -> Path:
    """A feed of `products` rows, each with a picture of its own shade."""
    for number in range(products):
        write_picture(folder / "pictures" / f"{number}.png", number % 256)
    rows = [{"id": f"p{number}", "image_link": f"pictures/{number}.png"} for number in range(products)]
    return write_feed(folder / "feed.csv", rows)


async def build(
    feed: Path, embed: Embed = shade_embed, progress: Progress | None = None, **changes: object
) -> BuildReport:
    options = BuildOptions(feed=feed, out=feed.parent / "out" / "shop", decode=LIMITS, **changes)  # type: ignore[arg-type]
    return await build_catalog(options, SPEC, embed, BUILT, progress)


def left_behind(folder: Path) -> list[str]:
    return sorted(entry.name for entry in (folder / "out").iterdir())


async def test_a_feed_becomes_a_catalog_in_its_order(tmp_path: Path) -> None:
    seen: list[int] = []
    report = await build(shop(tmp_path, 100), progress=Progress(rows=seen.append))

    catalog = open_catalog(tmp_path / "out" / "shop", SPEC)
    assert catalog.display["id"].to_pylist() == [f"p{number}" for number in range(100)]
    assert catalog.image_links.to_pylist() == [f"pictures/{number}.png" for number in range(100)]
    expected = await shade_embed([np.full((4, 4, 3), number, np.uint8) for number in range(100)])
    assert np.abs(catalog.vectors.astype(np.float32) - expected).max() < 1e-3
    assert (report.products, report.images, report.problems) == (100, 100, ())
    assert catalog.facts.built_at == "2026-01-02T03:04:05+00:00"
    assert seen[-1] == 100
    assert seen == sorted(seen)
    assert len(seen) > 1
    assert left_behind(tmp_path) == ["shop"]


async def test_bad_rows_are_reported_in_order_and_skipped(tmp_path: Path) -> None:
    write_picture(tmp_path / "good.png", 10)
    write_picture(tmp_path / "other.png", 20)
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    feed = write_feed(
        tmp_path / "feed.csv",
        [
            {"id": "whole", "image_link": "good.png", "additional_image_link": "other.png", "price": "1 EUR"},
            {"id": "lost", "image_link": "bad.jpg", "additional_image_link": "none.jpg"},
            {"id": "part", "image_link": "bad.jpg", "additional_image_link": "good.png"},
            {"id": "", "image_link": "good.png"},
            {"id": "whole", "image_link": "good.png"},
            {"id": "dear", "image_link": "good.png", "price": "much"},
        ],
    )
    heard: list[Problem] = []
    report = await build(feed, progress=Progress(problem=heard.append))

    assert [(problem.row, problem.kind, problem.skipped) for problem in report.problems] == [
        (3, ProblemKind.UNREADABLE_IMAGE, True),
        (4, ProblemKind.UNREADABLE_IMAGE, False),
        (5, ProblemKind.NO_ID, True),
        (6, ProblemKind.DUPLICATE_ID, True),
        (7, ProblemKind.BAD_PRICE, True),
    ]
    assert tuple(heard) == report.problems
    assert len(report.skipped) == report.skipped_by_kind.total() == 4
    assert (report.products, report.images) == (2, 3)
    catalog = open_catalog(tmp_path / "out" / "shop")
    assert catalog.image_links.to_pylist() == ["good.png", "other.png", "good.png"]
    assert catalog.display["image_link"].to_pylist() == ["good.png", "bad.jpg"]


async def test_strict_stops_at_the_first_problem_and_leaves_nothing(tmp_path: Path) -> None:
    write_picture(tmp_path / "good.png", 10)
    rows = [{"id": "a", "image_link": "good.png"}, {"id": "b", "image_link": "none.png"}]
    with pytest.raises(SightlineError, match=r"feed.csv, row 3 \(b\): none.png: there is no such file"):
        await build(write_feed(tmp_path / "feed.csv", rows), strict=True)
    assert left_behind(tmp_path) == []


async def test_a_feed_without_a_usable_row_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match=r"no row of feed\.csv can be used") as caught:
        await build(write_feed(tmp_path / "feed.csv", [{"id": "a", "image_link": "none.png"}]))
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert left_behind(tmp_path) == []


async def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    write_picture(tmp_path / "elsewhere" / "a.png", 3)
    feed = write_feed(tmp_path / "feed.csv", [{"id": "a", "image_link": "a.png"}])
    report = await build(feed, images=tmp_path / "elsewhere")
    assert report.products == 1


async def test_an_engine_that_fails_leaves_the_old_catalog_as_it_was(tmp_path: Path) -> None:
    feed = shop(tmp_path, 70)
    write_catalog(tmp_path / "out" / "shop", [catalog_row("old", unit_vectors(1))])

    async def failing(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        raise SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the engine is gone")

    with pytest.raises(SightlineError, match="the engine is gone"):
        await build(feed, failing, replace=True)
    assert left_behind(tmp_path) == ["shop"]
    assert open_catalog(tmp_path / "out" / "shop").display["id"].to_pylist() == ["old"]


async def test_a_cancelled_build_leaves_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    feed = shop(tmp_path, 70)
    embedding = asyncio.Event()

    async def stuck(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        embedding.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(build(feed, stuck))
    await embedding.wait()
    assert left_behind(tmp_path) == [".shop.lock"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left_behind(tmp_path) == []
    assert (await build(feed)).products == 70


async def test_the_next_pictures_are_read_while_these_are_embedded_but_not_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, groups = [], []
    next_group_read = asyncio.Event()
    read_file = ImageSource.read

    async def watched(source: ImageSource, link: str) -> bytes:
        read.append(link)
        if len(read) == 2 * GROUP_ROWS:
            next_group_read.set()
        return await read_file(source, link)

    async def waiting(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        await next_group_read.wait()
        groups.append((len(crops), len(read)))
        return await shade_embed(crops)

    monkeypatch.setattr(ImageSource, "read", watched)
    await build(shop(tmp_path, 10 * GROUP_ROWS), waiting)
    assert [size for size, _ in groups] == [GROUP_ROWS] * 10
    assert all(count <= (done + 1 + GROUPS_AHEAD) * GROUP_ROWS for done, (_, count) in enumerate(groups))
