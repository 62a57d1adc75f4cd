"""Catalogs with two views of an image: what is stored, counted and searched, and that every writer keeps to it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from sightline_server.catalog.log import read_recorded
from sightline_server.cli.catalog import app
from sightline_server.domain.image_views import kept_views
from sightline_server.domain.models import EmbedderSpec
from sightline_server.domain.view_vectors import in_views
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog, read_facts
from sightline_server.index.catalog_reading import CatalogReading
from sightline_server.index.catalogs_folder import CatalogsFolder
from sightline_server.index.device_thread import DeviceThread
from sightline_server.index.image_counts import image_count
from sightline_server.index.living import LivingCatalog
from sightline_server.index.opening import open_snapshot
from sightline_server.index.schema import MAX_IMAGES, VIEWS_KEY, CatalogFacts
from sightline_server.index.stored_rows import stored_rows
from sightline_server.ingest.build import BuildOptions, BuildReport, Progress, build_catalog
from sightline_server.ingest.building.replaced import catalog_size
from sightline_server.ingest.reembed.cache import EmbeddingCache
from sightline_server.ingest.reembed.reembed import Reembed, ReembedOptions
from sightline_server.ingest.seen_images import SeenImages
from sightline_server.ingest.upsert import upsert_feed
from tests.support.catalogs import BUILT, DIMENSION, LIMITS, SPEC, row, shade_embed, unit_vectors, write_feed
from tests.support.ray_builds import CountedEngine, build_here

EDGE = 60


def write_product(path: Path, shade: int, *, margin: bool = True) -> None:
    """A square of one grey, on white where it has a margin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((EDGE, EDGE, 3), 255 if margin else shade, np.uint8)
    pixels[15:45, 15:45] = shade
    Image.fromarray(pixels).save(path)


def shop_feed(folder: Path, *rows: tuple[str, list[str]]) -> Path:
    """A feed of products by the names of their images: `m10.png` has a margin, `p20.png` has none."""
    for name in {name for _, names in rows for name in names}:
        write_product(folder / "images" / name, int(name[1:-4]), margin=name.startswith("m"))
    feed = [{"id": each, "image_link": first, "additional_image_link": ",".join(more)} for each, [first, *more] in rows]
    return write_feed(folder / "images" / "feed.csv", feed)


ROWS = (("one", ["m10.png", "p20.png"]), ("two", ["p30.png"]), ("three", ["m10.png", "m40.png"]))
LINKS = {
    "one": ["m10.png", "m10.png", "p20.png"],
    "two": ["p30.png"],
    "three": ["m10.png", "m10.png", "m40.png", "m40.png"],
}


async def build(folder: Path, feed: Path, **changes: Any) -> BuildReport:
    options = {"views": 2} | changes
    return await build_catalog(BuildOptions(feed, folder / "shop", LIMITS, **options), SPEC, shade_embed, BUILT)


def links(shop: Path) -> dict[str, list[str]]:
    rows = [each for batch in stored_rows(shop).checked() for each in batch]
    return {each.product.id: list(each.images) for each in rows}


def lived(shop: Path) -> Path:
    with LivingCatalog(shop):
        pass
    return shop


async def upserted(shop: Path, feed: Path) -> None:
    with LivingCatalog(shop) as living:
        await upsert_feed(BuildOptions(feed, shop, LIMITS), SPEC, shade_embed, living, Progress())
        living.checkpoint()


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


async def test_images_with_a_margin_have_two_vectors_and_their_link_twice(tmp_path: Path) -> None:
    report = await build(tmp_path, shop_feed(tmp_path, *ROWS))
    shop = tmp_path / "shop"
    assert links(shop) == LINKS
    facts = read_facts(shop)
    assert (facts.views, facts.vectors, facts.max_images) == (2, 8, 4)
    assert report.images == 5
    assert not report.problems
    assert image_count(stored_rows(shop)) == 5
    whole, inner = open_catalog(shop, SPEC).vectors[:2]
    assert not np.array_equal(whole, inner)
    again = open_catalog(shop, SPEC)
    assert np.array_equal(again.vectors[again.image_links.to_pylist().index("m10.png")], whole)


async def test_equal_images_of_two_products_have_equal_vectors(tmp_path: Path) -> None:
    rows = [("first", ["m10.png"]), *((f"more{n}", ["m10.png"]) for n in range(80))]
    await build(tmp_path, shop_feed(tmp_path, *rows))
    opened = open_catalog(tmp_path / "shop", SPEC)
    assert len(opened.vectors) == 2 * 81
    assert len(np.unique(opened.vectors, axis=0)) == 2


async def test_one_view_is_stored_as_before(tmp_path: Path) -> None:
    await build(tmp_path, shop_feed(tmp_path, *ROWS), views=None)
    facts = read_facts(tmp_path / "shop")
    assert (facts.views, facts.vectors) == (1, 5)
    assert VIEWS_KEY not in facts.metadata()
    assert links(tmp_path / "shop")["one"] == ["m10.png", "p20.png"]


async def test_the_trimmed_view_finds_what_the_whole_image_does_not(tmp_path: Path) -> None:
    """A query of the shade without a margin is nearest to the trimmed view, and its product comes once."""
    await build(tmp_path, shop_feed(tmp_path, ("dark", ["m10.png"]), ("grey", ["p120.png"]), ("light", ["p200.png"])))
    [query] = await shade_embed([np.full((4, 4, 3), 30, np.uint8)])
    found = await searched(tmp_path / "shop", query)
    assert found[0][0] == "dark"
    assert len(found) == len({name for name, _ in found}) == 3
    await build(tmp_path, tmp_path / "images" / "feed.csv", views=1, replace=True)
    assert (await searched(tmp_path / "shop", query))[0][1] < found[0][1]


async def searched(shop: Path, query: NDArray[np.float32]) -> list[tuple[str, float]]:
    """The products nearest to `query` with their similarities, by the real index."""
    device = DeviceThread()
    try:
        snapshot = await open_snapshot(shop, "shop", SPEC, device)
        [found] = await snapshot.nearest(query[np.newaxis], 3)
        return [(each.product_id, each.similarity) for each in found]
    finally:
        device.close()


async def test_a_product_keeps_the_whole_of_each_image_before_second_views(tmp_path: Path) -> None:
    names = [f"m{shade}.png" for shade in range(10, 10 + 3 * 12, 3)]
    await build(tmp_path, shop_feed(tmp_path, ("many", names)))
    stored = links(tmp_path / "shop")["many"]
    assert len(stored) == MAX_IMAGES
    assert list(dict.fromkeys(stored)) == names
    assert [stored.count(name) for name in names] == [2] * 8 + [1] * 4


@given(st.lists(st.integers(1, 2), min_size=1, max_size=25))
def test_kept_views_are_in_order_and_within_the_limit(counts: list[int]) -> None:
    places = kept_views(counts, MAX_IMAGES)
    assert places == sorted(places)
    assert set(places) == set(range(len(counts)))
    assert len(places) == max(len(counts), min(sum(counts), MAX_IMAGES))
    made = [unit_vectors(count, place) for place, count in enumerate(counts)]
    found, vectors = in_views(made, MAX_IMAGES)
    assert found == places
    for place, each in enumerate(made):
        own = vectors[[at for at, other in enumerate(places) if other == place]]
        assert np.array_equal(own, each[: len(own)])


async def test_an_upsert_follows_the_catalog(tmp_path: Path) -> None:
    await build(tmp_path, shop_feed(tmp_path, *ROWS))
    shop = tmp_path / "shop"
    await upserted(shop, shop_feed(tmp_path, ("two", ["m50.png", "m10.png"]), ("four", ["m60.png"])))
    assert links(shop)["two"] == ["m50.png", "m50.png", "m10.png", "m10.png"]
    assert links(shop)["four"] == ["m60.png", "m60.png"]
    one = tmp_path / "one"
    one.mkdir()
    await build(one, shop_feed(one, *ROWS), views=1)
    await upserted(one / "shop", shop_feed(one, ("two", ["m50.png"])))
    assert links(one / "shop")["two"] == ["m50.png"]


async def test_a_new_build_keeps_the_views_of_the_catalog_that_it_replaces(tmp_path: Path) -> None:
    feed = shop_feed(tmp_path, *ROWS)
    await build(tmp_path, feed)
    await build(tmp_path, feed, views=None, replace=True)
    assert read_facts(tmp_path / "shop").views == 2
    assert catalog_size(tmp_path / "shop").images == 5  # type: ignore[union-attr]
    fewer = await build(tmp_path, feed, views=1, replace=True)
    assert (fewer.images, read_facts(tmp_path / "shop").views) == (5, 1)
    assert BuildOptions(feed, tmp_path / "new", LIMITS, default_views=2).image_views == 2


async def test_rows_of_other_views_are_refused(tmp_path: Path) -> None:
    await build(tmp_path, shop_feed(tmp_path, *ROWS))
    with LivingCatalog(tmp_path / "shop") as living:
        stale = replace(row("late", unit_vectors(1)), embedder=SPEC, views=1)
        with pytest.raises(SightlineError, match="has got other views since") as refused:
            living.upsert([stale])
        assert refused.value.kind is ErrorKind.EMBEDDER_CHANGED
        living.upsert([replace(stale, views=2)])
        living.upsert([replace(stale, views=0)])


async def test_callers_see_each_link_once(tmp_path: Path) -> None:
    await build(tmp_path, shop_feed(tmp_path, *ROWS))
    with LivingCatalog(tmp_path / "shop") as living:
        reading = CatalogReading(living.store)
        assert [each.images for each in reading.page("", 10)] == [
            ("m10.png", "p20.png"),
            ("m10.png", "m40.png"),
            ("p30.png",),
        ]
        found = reading.get("three")
    assert found is not None
    assert found.images == ("m10.png", "m40.png")


def test_facts_that_are_not_known_are_refused() -> None:
    facts = CatalogFacts(SPEC, 1, 2, 2, "aa", "2026-01-01", views=2)
    assert CatalogFacts.parse(facts.metadata()) == facts
    for text in (b"3", b"0", b"x"):
        with pytest.raises(SightlineError, match="description is damaged"):
            CatalogFacts.parse({**facts.metadata(), VIEWS_KEY: text})


def test_a_new_empty_catalog_has_the_views_of_the_folder(tmp_path: Path) -> None:
    for views in (1, 2):
        with CatalogsFolder(tmp_path, views=views) as folder:
            made = folder.create(f"shop{views}", SPEC)
        with LivingCatalog(made) as living:
            assert living.views == views


def test_seen_images_give_back_as_many_views_as_they_got(tmp_path: Path) -> None:
    with SeenImages(tmp_path, DIMENSION, 2) as seen:
        for count in (2, 1, 2):
            seen.add(f"{count}", unit_vectors(count, count), "ab" * 32)
        for count in (1, 2):
            found = seen.get(f"{count}")
            assert isinstance(found, np.ndarray)
            assert np.array_equal(found, unit_vectors(count, count).astype(np.float16).astype(np.float32))
            assert seen.features(f"{count}") == "ab" * 32


@pytest.mark.parametrize("name", ["shop.jsonl", "shop.parquet"])
async def test_an_export_with_embeddings_comes_back_with_the_same_digest(tmp_path: Path, name: str) -> None:
    await build(tmp_path, shop_feed(tmp_path, *ROWS))
    shop, file = lived(tmp_path / "shop"), tmp_path / name
    made = command("export", shop, "--out", file, "--embeddings")
    assert made.exit_code == 0, made.output
    assert "3 products, 5 images" in made.stdout
    copies = tmp_path / "copies"
    copies.mkdir()
    for views in (2, 1):
        with CatalogsFolder(copies, views=views) as folder:
            copy = folder.create(f"copy{views}", SPEC)
        written = command("upsert", file, "--catalog", copy, "--embedded")
        if views == 2:
            assert written.exit_code == 0, written.output
            assert read_recorded(copy).current.digest == read_recorded(shop).current.digest
            assert "vectors     8" in written.stdout
        else:
            assert written.exit_code == 1
            assert "its embeddings are of 2 views of each image, the catalog has 1" in written.stderr


@pytest.mark.parametrize("name", ["shop.csv", "shop.jsonl", "shop.xml", "shop.parquet"])
async def test_an_export_without_embeddings_has_each_link_once(tmp_path: Path, name: str) -> None:
    await build(tmp_path, shop_feed(tmp_path, *ROWS))
    shop, before = tmp_path / "shop", read_facts(tmp_path / "shop").content_sha256
    assert command("export", shop, "--out", tmp_path / "images" / name).exit_code == 0
    report = await build(tmp_path, tmp_path / "images" / name, views=None, replace=True)
    assert report.images == 5
    assert read_facts(shop).content_sha256 == before


class Other:
    """An embedder of shades with another dimension; it counts the crops."""

    spec = EmbedderSpec("other", "1", 6, 6, 3, sha256="cd" * 32)

    def __init__(self) -> None:
        self.crops = 0

    async def __call__(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.crops += len(crops)
        angles = np.array([float(crop.mean()) for crop in crops], np.float32) / 255 * np.pi / 2
        return np.stack([np.sin(angles), np.zeros_like(angles), np.cos(angles)], 1)


async def reembedded(
    shop: Path, spec: EmbedderSpec, embed: Any, *, views: int | None = None, local: bool = True
) -> int:
    """Embeds the catalog again, makes that its current revision, and returns the products that were reused."""
    where = ReembedOptions(LIMITS, shop.parent / "images" if local else None, views=views)
    job = Reembed(shop, spec, where)
    with EmbeddingCache(shop, spec, job.work.views) as cache:
        await job.embed(cache, embed, Progress())
        with LivingCatalog(shop) as living:
            living.store.rollback(job.prepare(cache, living, lambda done: None).number)
    return job.work.reused


@pytest.mark.parametrize("keep", [False, True], ids=["links", "originals"])
async def test_another_embedder_embeds_each_image_once_in_its_views(tmp_path: Path, keep: bool) -> None:
    await build(tmp_path, shop_feed(tmp_path, *ROWS), keep_originals=keep)
    shop, embed = lived(tmp_path / "shop"), Other()
    await reembedded(shop, Other.spec, embed, local=not keep)
    assert links(shop) == LINKS
    assert read_facts(shop).views == 2
    assert open_catalog(shop, Other.spec).facts.vectors == 8
    assert embed.crops == 6, "an image that two products share is embedded once"


async def test_the_views_of_a_catalog_change_by_embedding_it_again(tmp_path: Path) -> None:
    await build(tmp_path, shop_feed(tmp_path, *ROWS), views=1)
    shop = lived(tmp_path / "shop")
    before = read_recorded(shop).current.digest
    with pytest.raises(SightlineError, match="is embedded by tiny@abababababab already"):
        Reembed(shop, SPEC, ReembedOptions(LIMITS))
    assert await reembedded(shop, SPEC, shade_embed, views=2) == 0
    assert links(shop) == LINKS
    built = tmp_path / "built"
    built.mkdir()
    await build(built, shop_feed(built, *ROWS))
    assert read_recorded(lived(built / "shop")).current.digest == read_recorded(shop).current.digest
    await upserted(shop, shop_feed(tmp_path, ("four", ["m60.png"])))
    assert links(shop)["four"] == ["m60.png", "m60.png"]
    with pytest.raises(SightlineError, match="already with two views of each image"):
        Reembed(shop, SPEC, ReembedOptions(LIMITS, views=2))
    assert await reembedded(shop, SPEC, shade_embed, views=1) == 3, "the first generation has them"
    assert links(shop) == {name: list(dict.fromkeys(each)) for name, each in LINKS.items()} | {"four": ["m60.png"]}
    with LivingCatalog(shop) as living:
        living.delete(["four"])
        living.checkpoint()
        assert living.views == 1
        living.store.rollback(1)
    assert (read_facts(shop).views, read_recorded(shop).current.digest) == (1, before)


async def test_different_images_of_one_link_stay_where_their_files_are_kept(tmp_path: Path) -> None:
    """Callers may send images without links; all of them have the link of the product then."""
    await build(tmp_path, shop_feed(tmp_path, *ROWS), keep_originals=True)
    shop = lived(tmp_path / "shop")
    files = [(tmp_path / "images" / name).read_bytes() for name in ("m10.png", "p20.png")]
    with LivingCatalog(shop) as living:
        names = [living.originals.add(each) for each in files]
        sent = row("sent", unit_vectors(3))
        living.upsert([replace(sent, images=("a", "a", "a"), originals=(names[0], names[0], names[1]))])
        living.checkpoint()
    await reembedded(shop, Other.spec, Other())
    assert links(shop)["sent"] == ["a", "a", "a"], "two views of the first file, one of the second"
    await reembedded(shop, SPEC, shade_embed, views=1)
    assert links(shop)["sent"] == ["a", "a"]


async def test_commands_say_images_and_vectors(tmp_path: Path) -> None:
    await build(tmp_path, shop_feed(tmp_path, *ROWS))
    shop = tmp_path / "shop"
    shown = command("info", shop)
    assert (
        "images      5, in two views where they have a plain margin (8 vectors, at most 4 of one product)"
        in shown.output
    )
    lived(shop)
    assert "3 products, 8 vectors, digest" in command("verify", "--catalog", shop).stdout
    assert "3 products, 8 vectors" in command("revisions", "--catalog", shop).stdout
    deleted = command("delete", "two", "--catalog", shop)
    assert deleted.exit_code == 0, deleted.output
    assert "vectors     7" in deleted.stdout


def test_an_unknown_number_of_views_is_refused() -> None:
    refused = command("build", "feed.csv", "--out", "shop", "--views", "3")
    assert refused.exit_code == 2


def test_a_build_on_ray_makes_the_same_views(tmp_path: Path) -> None:
    feed = shop_feed(tmp_path, *ROWS)
    outcome = build_here(feed, CountedEngine(), CountedEngine(), views=2)
    expected = asyncio.run(build(tmp_path, feed))
    assert outcome.report.facts.content_sha256 == expected.facts.content_sha256
    assert (outcome.report.images, outcome.embedded) == (5, 4)
    assert links(tmp_path / "images" / "shop") == LINKS


def test_a_checkpoint_of_other_views_is_refused(tmp_path: Path) -> None:
    feed = shop_feed(tmp_path, *ROWS)

    def stop(outcome: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_here(feed, CountedEngine(), after=stop, views=1)
    with pytest.raises(SightlineError, match="of another build"):
        build_here(feed, CountedEngine(), views=2)
