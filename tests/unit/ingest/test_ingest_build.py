"""The build, with a fake embedder: what gets in, what is reported, and what is left after a failure."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.domain.items import Product
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.ingest import preparation
from sightline_server.ingest.build import (
    GROUP_ROWS,
    GROUPS_AHEAD,
    BuildOptions,
    BuildReport,
    Progress,
    build_catalog,
)
from sightline_server.ingest.embedding import Embed
from sightline_server.ingest.feed_rows import Problem, ProblemKind
from sightline_server.ingest.feeds.formats import Format
from sightline_server.ingest.feeds.options import FeedOptions
from sightline_server.ingest.feeds.source import OpenFeed
from sightline_server.ingest.images import ImageSource
from sightline_server.ingest.links import FileLink
from sightline_server.stages.processes import link
from sightline_server.stages.processes.process import ProcessLimits
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
from tests.support.isolation import decoders
from tests.support.pictures import tiff_of_tiny_tiles

T = TypeVar("T")


def shop(folder: Path, products: int) -> Path:
    """A feed of `products` rows, each with an image in a different shade."""
    for number in range(products):
        write_picture(folder / "pictures" / f"{number}.png", number % 256)
    rows = [{"id": f"p{number}", "image_link": f"pictures/{number}.png"} for number in range(products)]
    return write_feed(folder / "feed.csv", rows)


async def build(
    feed: Path | OpenFeed, embed: Embed = shade_embed, progress: Progress | None = None, **changes: Any
) -> BuildReport:
    out = (feed.parent or Path.cwd()) / "out" / "shop"
    options = BuildOptions(feed=feed, out=out, decode=LIMITS, **changes)
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
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff no image")
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
        (7, ProblemKind.BAD_PRICE, False),
    ]
    assert tuple(heard) == report.problems
    assert len(report.skipped) == report.skipped_by_kind.total() == 3
    assert (report.products, report.images) == (3, 4)
    catalog = open_catalog(tmp_path / "out" / "shop")
    assert catalog.image_links.to_pylist() == ["good.png", "other.png", "good.png", "good.png"]
    assert catalog.display["image_link"].to_pylist() == ["good.png", "bad.jpg", "good.png"]


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


async def test_images_in_another_folder_are_found(tmp_path: Path) -> None:
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
    use = ImageSource.use

    async def watched(source: ImageSource, link: FileLink, work: Callable[[bytes], Awaitable[T]]) -> T:
        read.append(link)
        if len(read) == 2 * GROUP_ROWS:
            next_group_read.set()
        return await use(source, link, work)

    async def waiting(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        await next_group_read.wait()
        groups.append((len(crops), len(read)))
        return await shade_embed(crops)

    monkeypatch.setattr(ImageSource, "use", watched)
    await build(shop(tmp_path, 10 * GROUP_ROWS), waiting)
    assert [size for size, _ in groups] == [GROUP_ROWS] * 10
    assert all(count <= (done + 1 + GROUPS_AHEAD) * GROUP_ROWS for done, (_, count) in enumerate(groups))


def names_of(folder: Path) -> list[str]:
    return [str(name) for name in open_catalog(folder / "out" / "shop").display["id"].to_pylist()]


async def old_catalog(folder: Path, products: int = 20) -> Path:
    """A good catalog of `products`, and its feed."""
    feed = shop(folder, products)
    await build(feed)
    return feed


@pytest.mark.parametrize("broken", [3, 19, 20])
async def test_a_replacement_that_lost_much_is_refused_and_the_old_catalog_stays(tmp_path: Path, broken: int) -> None:
    feed = await old_catalog(tmp_path)
    for number in range(broken):
        (tmp_path / "pictures" / f"{number}.png").write_bytes(b"<html>no image here</html>")
    with pytest.raises(SightlineError, match=r"was not replaced|no row") as caught:
        await build(feed, replace=True)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    if broken < 20:
        assert f"{broken} of 20 rows were lost ({5 * broken} %), --max-lost allows 10 %" in caught.value.message
        assert f"{broken} problems: unreadable image" in caught.value.message
        assert "add --max-lost 100" in caught.value.message
    assert names_of(tmp_path) == [f"p{number}" for number in range(20)]
    assert left_behind(tmp_path) == ["shop"]


async def test_a_replacement_that_lost_little_takes_place(tmp_path: Path) -> None:
    feed = await old_catalog(tmp_path)
    for number in range(2):
        (tmp_path / "pictures" / f"{number}.png").unlink()
    assert (await build(feed, replace=True)).products == 18
    assert names_of(tmp_path) == [f"p{number}" for number in range(2, 20)]


async def test_a_replacement_may_lose_what_it_is_allowed_to(tmp_path: Path) -> None:
    feed = await old_catalog(tmp_path)
    for number in range(10):
        (tmp_path / "pictures" / f"{number}.png").unlink()
    with pytest.raises(SightlineError, match="--max-shrink allows 30 %"):
        await build(feed, replace=True, max_lost=1.0)
    assert (await build(feed, replace=True, max_lost=0.5, max_shrink=0.5)).products == 10


async def test_products_that_lose_most_of_their_images_count(tmp_path: Path) -> None:
    feed = await old_catalog(tmp_path)
    rows = [
        {"id": f"p{n}", "image_link": f"pictures/{n}.png", "additional_image_link": f"none-{n}.png,gone-{n}.png"}
        for n in range(20)
    ]
    with pytest.raises(SightlineError, match=r"40 of 60 images were lost \(66.7 %\)"):
        await build(write_feed(feed, rows), replace=True)


async def test_a_feed_that_was_cut_is_refused(tmp_path: Path) -> None:
    feed = await old_catalog(tmp_path)
    lines = feed.read_text().splitlines(keepends=True)
    feed.write_text("".join(lines[:11]))
    with pytest.raises(SightlineError, match=r"products: 10 instead of 20 \(50 % fewer\), --max-shrink allows 30 %"):
        await build(feed, replace=True)
    feed.write_text(lines[0])
    with pytest.raises(SightlineError, match="no row"):
        await build(feed, replace=True)
    assert len(names_of(tmp_path)) == 20


async def test_a_second_row_of_an_id_is_no_loss(tmp_path: Path) -> None:
    feed = await old_catalog(tmp_path)
    lines = feed.read_text().splitlines(keepends=True)
    feed.write_text("".join(lines + lines[1:]))
    report = await build(feed, replace=True)
    assert (report.losses.rows, report.losses.rows_lost) == (20, 0)
    assert len(report.skipped) == 20


async def test_rows_without_a_price_or_an_image_are_losses(tmp_path: Path) -> None:
    feed = await old_catalog(tmp_path)
    rows = [{"id": f"p{n}", "image_link": f"pictures/{n}.png" if n > 2 else ""} for n in range(20)]
    with pytest.raises(SightlineError, match="3 of 20 rows were lost"):
        await build(write_feed(feed, rows), replace=True)


async def test_a_first_build_keeps_what_there_is_unless_a_limit_is_given(tmp_path: Path) -> None:
    feed = shop(tmp_path, 10)
    for number in range(5):
        (tmp_path / "pictures" / f"{number}.png").unlink()
    with pytest.raises(SightlineError, match="was not built"):
        await build(feed, max_lost=0.1)
    report = await build(feed, replace=True)
    assert (report.products, report.losses.rows_lost, report.losses.rows) == (5, 5, 10)


async def test_an_old_catalog_that_cannot_be_read_still_guards_against_losses(tmp_path: Path) -> None:
    feed = shop(tmp_path, 10)
    (tmp_path / "out" / "shop" / "_versions").mkdir(parents=True)
    (tmp_path / "pictures" / "0.png").unlink()
    (tmp_path / "pictures" / "1.png").unlink()
    with pytest.raises(SightlineError, match="2 of 10 rows"):
        await build(feed, replace=True)
    assert (await build(feed, replace=True, max_lost=0.2)).products == 8


async def test_an_image_is_read_and_embedded_once_however_many_products_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_picture(tmp_path / "shared.png", 100)
    write_picture(tmp_path / "own.png", 200)
    read: list[str] = []
    embedded: list[int] = []
    use = ImageSource.use

    async def counted(source: ImageSource, link: FileLink, work: Callable[[bytes], Awaitable[T]]) -> T:
        read.append(link.path)
        return await use(source, link, work)

    async def embed(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        embedded.append(len(crops))
        return await shade_embed(crops)

    monkeypatch.setattr(ImageSource, "use", counted)
    count = 5 * GROUP_ROWS
    rows = [
        {"id": f"p{n}", "image_link": "shared.png", "additional_image_link": "own.png,none.png" if n % 2 else ""}
        for n in range(count)
    ]
    report = await build(write_feed(tmp_path / "feed.csv", rows), embed)
    assert sorted(read) == ["none.png", "own.png", "shared.png"]
    assert embedded == [2]
    assert (report.products, report.images) == (count, count + count // 2)
    assert [problem.text for problem in report.problems] == ["none.png: there is no such file"] * (count // 2)
    catalog = open_catalog(tmp_path / "out" / "shop")
    assert len(np.unique(catalog.vectors, axis=0)) == 2
    assert catalog.image_links.to_pylist()[:3] == ["shared.png", "shared.png", "own.png"]
    assert left_behind(tmp_path) == ["shop"]


async def test_an_embedding_is_the_same_for_the_first_product_and_for_a_later_one(tmp_path: Path) -> None:
    feed = shop(tmp_path, 3 * GROUP_ROWS)
    rows = [{"id": f"p{n}", "image_link": f"pictures/{n % GROUP_ROWS}.png"} for n in range(3 * GROUP_ROWS)]
    await build(write_feed(feed, rows))
    first, second, third = np.split(open_catalog(tmp_path / "out" / "shop").vectors, 3)
    assert (first == second).all()
    assert (first == third).all()


async def test_an_exception_for_one_image_costs_that_image_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = shop(tmp_path, 3)
    use = ImageSource.use

    async def failing(source: ImageSource, link: FileLink, work: Callable[[bytes], Awaitable[T]]) -> T:
        if link.path.endswith("1.png"):
            raise KeyError("secret")
        return await use(source, link, work)

    monkeypatch.setattr(ImageSource, "use", failing)
    report = await build(feed)
    assert [str(problem) for problem in report.problems] == [
        "row 3 (p1): pictures/1.png: the image cannot be read (KeyError)"
    ]
    assert report.products == 2


async def test_a_row_that_the_catalog_cannot_hold_costs_that_row_only(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 10)
    lines = [json.dumps({"id": f"p{n}", "title": "\ud800" if n == 1 else "t", "image_link": "a.png"}) for n in range(3)]
    (tmp_path / "feed.jsonl").write_text("\n".join(lines))
    report = await build(tmp_path / "feed.jsonl")
    assert [(problem.row, problem.skipped) for problem in report.problems] == [(2, True)]
    assert names_of(tmp_path) == ["p0", "p2"]
    assert (report.losses.rows, report.losses.rows_lost, report.losses.images_lost) == (3, 1, 0)


async def test_no_password_of_a_link_is_reported_or_published(tmp_path: Path) -> None:
    write_picture(tmp_path / "good.png", 10)
    row = {
        "id": "a",
        "image_link": "http://user:secret@shop.example/a.jpg",
        "additional_image_link": "good.png",
        "link": "https://user:secret@shop.example/a",
        "mobile_link": "https://user:secret/x@m.shop.example/a",
        "canonical_url": "https://user:a b@secret/x@shop.example/a",
        "title": "Chair, see https://user:secret@shop.example/a",
        "price": "https://user:secret@shop.example/a",
        "availability": "https://user:secret@shop.example/a",
    }
    report = await build(write_feed(tmp_path / "feed.csv", [row]))
    assert any("--header" in problem.text for problem in report.problems)
    assert "secret" not in str(report)
    catalog = open_catalog(tmp_path / "out" / "shop")
    assert "secret" not in str(catalog.display.to_pylist()) + str(catalog.image_links.to_pylist())
    assert catalog.display["image_link"].to_pylist() == ["good.png"]
    assert catalog.display["link"].to_pylist() == ["https://shop.example/a"]


async def test_no_password_of_a_link_that_is_taken_for_a_path_is_published(tmp_path: Path) -> None:
    write_picture(tmp_path / "good.png", 10)
    link = "\u200bhttp://user:secret@shop.example/a.jpg"  # blanks of width 0 come from web pages
    row = {"id": "a", "image_link": link, "additional_image_link": "good.png"}
    report = await build(write_feed(tmp_path / "feed.csv", [row]))
    assert "secret" not in str(report)
    catalog = open_catalog(tmp_path / "out" / "shop")
    assert "secret" not in str(catalog.display.to_pylist()) + str(catalog.image_links.to_pylist())


async def test_an_image_behind_many_links_is_counted(tmp_path: Path) -> None:
    for number in range(300):
        write_picture(tmp_path / f"{number}.png", 7 if number % 3 == 0 else number % 256)
    rows = [{"id": f"p{number}", "image_link": f"{number}.png"} for number in range(300)]
    report = await build(write_feed(tmp_path / "feed.csv", rows))
    assert 80 <= report.same_images <= 103


async def test_an_exception_for_a_row_costs_that_row_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(product: Product, first_link: str) -> Product:
        if product.id == "p1":
            raise ValueError("secret")
        return product

    monkeypatch.setattr(preparation, "published", failing)
    report = await build(shop(tmp_path, 3))
    assert [str(problem) for problem in report.problems] == ["row 3 (p1): the row cannot be read (ValueError)"]
    assert (report.products, report.losses.rows_lost, report.losses.images_lost) == (2, 1, 1)


async def test_a_malformed_proxy_ends_the_build_before_anything_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = await old_catalog(tmp_path)
    monkeypatch.setenv("ALL_PROXY", "socks4://user:secret@proxy.example")
    assert (await build(feed, replace=True)).products == 20, "local images need no proxy"
    rows = [{"id": f"p{n}", "image_link": f"https://cdn.shop.example/{n}.jpg"} for n in range(70)]
    with pytest.raises(SightlineError, match="all_proxy is not a proxy") as caught:
        await build(write_feed(feed, rows), replace=True)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert "secret" not in caught.value.message
    assert len(names_of(tmp_path)) == 20
    assert left_behind(tmp_path) == ["shop"]


async def test_a_hostile_tiff_is_a_problem_and_costs_no_other_image(tmp_path: Path) -> None:
    write_picture(tmp_path / "good.tif", 30)
    (tmp_path / "slow.tif").write_bytes(tiff_of_tiny_tiles(720))
    (tmp_path / "cut.tif").write_bytes((tmp_path / "good.tif").read_bytes()[:60])
    names = ("good", "slow", "cut")
    feed = write_feed(tmp_path / "feed.csv", [{"id": name, "image_link": f"{name}.tif"} for name in names])
    report = await build(feed, decode_processes=ProcessLimits(count=1, timeout_s=1))
    assert [(problem.product_id, problem.kind) for problem in report.problems] == [
        ("slow", ProblemKind.UNREADABLE_IMAGE),
        ("cut", ProblemKind.UNREADABLE_IMAGE),
    ]
    assert "takes too long to decode, the limit is 1 s" in str(report.problems[0])
    assert "TIFF, but it is truncated or corrupt" in str(report.problems[1])
    assert open_catalog(tmp_path / "out" / "shop", SPEC).display["id"].to_pylist() == ["good"]
    assert decoders() == []


async def test_a_build_without_decode_processes_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "COMMAND", ("-c", ""))
    write_picture(tmp_path / "good.tif", 30)
    feed = write_feed(tmp_path / "feed.csv", [{"id": "good", "image_link": "good.tif"}])
    with pytest.raises(SightlineError) as caught:
        await build(feed)
    assert caught.value.kind is ErrorKind.INTERNAL
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("link", ["x:/../a.png", "x:a.png", "photo:..\\a.png", "a.png", "file:a.png", "/a.png", "x:y"])
async def test_downloaded_feed_names_no_file_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    """`urljoin` leaves a link with an unknown scheme as it is, so that it looks like a path afterwards."""
    for name in ("a.png", "x:a.png", "x:y"):
        write_picture(tmp_path / "a.png", 10)
        (tmp_path / name).write_bytes((tmp_path / "a.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "feed.csv").open("w+b") as file:
        file.write(f"id,image_link\nspy,{link}\n".encode())
        feed = OpenFeed("http://127.0.0.1/feed.csv", None, file, Format.DELIMITED)
        with pytest.raises(SightlineError, match="no row of"):
            await build(feed, feed_options=FeedOptions(base_url="http://127.0.0.1/feed.csv"))
