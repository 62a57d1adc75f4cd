"""A catalog embedded by another embedder: where its images come from, what is reused, and what may be lost."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sightline_server.catalog.originals import Originals
from sightline_server.catalog.revisions import Revision, RevisionKind
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.originals import row_keys
from sightline_server.index.stored_rows import stored_rows
from sightline_server.ingest.build import BuildOptions, Progress, build_catalog
from sightline_server.ingest.reembed.cache import CACHE, EmbeddingCache
from sightline_server.ingest.reembed.reembed import Reembed, ReembedOptions
from sightline_server.ingest.upsert import upsert_feed
from tests.support.catalogs import BUILT, LIMITS, SPEC, shade_embed, write_feed, write_picture

OTHER = EmbedderSpec("other", "1", 6, 6, 3, sha256="cd" * 32)


class Embedder:
    """Another embedder of shades; `calls` counts the images that it embeds."""

    def __init__(self) -> None:
        self.images = 0
        self.fail_after = 1_000_000

    async def __call__(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        if self.images >= self.fail_after:
            raise SightlineError(ErrorKind.ENGINE_UNAVAILABLE, "the engine has stopped")
        assert {crop.shape for crop in crops} == {(6, 6, 3)}
        self.images += len(crops)
        return vectors_of([float(crop.mean()) for crop in crops])


def vectors_of(shades: Sequence[float]) -> NDArray[np.float32]:
    angles = np.array(shades, np.float32) / 255 * np.pi / 2
    return np.stack([np.sin(angles), np.zeros_like(angles), np.cos(angles)], 1)


@pytest.fixture
def embedder() -> Embedder:
    return Embedder()


async def built(folder: Path, products: int = 3, *, keep: bool = False) -> Path:
    """A catalog of `products` in shades of 10, 20, 30, ...; the first one has a second image of shade 200."""
    rows = []
    for number in range(1, products + 1):
        write_picture(folder / "images" / f"{number}.png", 10 * number % 256)
        rows.append({"id": f"p{number}", "image_link": f"{number}.png", "additional_image_link": ""})
    write_picture(folder / "images" / "more.png", 200)
    rows[0]["additional_image_link"] = "more.png"
    feed = write_feed(folder / "images" / "feed.csv", rows)
    await build_catalog(BuildOptions(feed, folder / "shop", LIMITS, keep_originals=keep), SPEC, shade_embed, BUILT)
    with LivingCatalog(folder / "shop"):
        pass
    return folder / "shop"


async def upserted(shop: Path, rows: Sequence[dict[str, str]]) -> None:
    feed = write_feed(shop.parent / "images" / "more.csv", rows)
    with LivingCatalog(shop) as living:
        await upsert_feed(BuildOptions(feed, shop, LIMITS), SPEC, shade_embed, living, Progress())
        living.checkpoint()


async def reembedded(
    shop: Path, embedder: Embedder, *, problems: list[str] | None = None, images: bool = True, **options: Any
) -> Revision:
    seen = [] if problems is None else problems
    where = ReembedOptions(LIMITS, shop.parent / "images" if images else None, **options)
    job = Reembed(shop, OTHER, where)
    with EmbeddingCache(shop, OTHER) as cache:
        await job.embed(cache, embedder, Progress(problem=lambda problem: seen.append(str(problem))))
        with LivingCatalog(shop) as living:
            return job.prepare(cache, living, lambda done: None)


def shades(shop: Path) -> dict[str, list[int]]:
    """The shade of each image of the current content, read from the embeddings of `OTHER`."""
    rows = [each for batch in stored_rows(shop).checked() for each in batch]
    angles = {each.product.id: np.arctan2(each.embeddings[:, 0], each.embeddings[:, 2]) for each in rows}
    return {name: [round(float(each) / (np.pi / 2) * 255) for each in found] for name, found in angles.items()}


def activate(shop: Path, number: int) -> None:
    with LivingCatalog(shop) as living:
        living.store.rollback(number)


async def test_every_image_is_embedded_again_and_searched_once_it_is_activated(
    tmp_path: Path, embedder: Embedder
) -> None:
    shop = await built(tmp_path)
    before = open_catalog(shop, SPEC).revision
    revision = await reembedded(shop, embedder)
    assert (revision.kind, revision.rows, revision.items, revision.number) == (RevisionKind.PREPARED, 3, 4, 2)
    assert open_catalog(shop, SPEC).revision == before, "it is not searched yet"
    assert embedder.images == 4
    assert sorted(path.name for path in shop.glob("*reembed*")) == []
    activate(shop, revision.number)
    catalog = open_catalog(shop, OTHER)
    assert catalog.image_links.to_pylist() == ["1.png", "more.png", "2.png", "3.png"]
    assert shades(shop) == {"p1": [10, 200], "p2": [20], "p3": [30]}
    activate(shop, 1)
    assert open_catalog(shop, SPEC).facts.content_sha256.startswith(before.partition("-")[2])


async def test_kept_originals_are_used_before_links(tmp_path: Path, embedder: Embedder) -> None:
    shop = await built(tmp_path, keep=True)
    for path in (tmp_path / "images").glob("*.png"):
        path.unlink()
    write_picture(tmp_path / "images" / "2.png", 90)
    revision = await reembedded(shop, embedder)
    activate(shop, revision.number)
    assert shades(shop) == {"p1": [10, 200], "p2": [20], "p3": [30]}


async def test_the_new_generation_has_originals_as_well(tmp_path: Path, embedder: Embedder) -> None:
    shop = await built(tmp_path, keep=True)
    activate(shop, (await reembedded(shop, embedder)).number)
    with LivingCatalog(shop) as living:
        living.compact(1)
        rows = [each for batch in stored_rows(shop).checked() for each in batch]
        files = {each.product.id: list(map(living.originals.content, row_keys(each))) for each in rows}
    images = tmp_path / "images"
    assert files["p1"] == [(images / "1.png").read_bytes(), (images / "more.png").read_bytes()]
    assert files["p3"] == [(images / "3.png").read_bytes()]


async def test_a_damaged_original_gives_way_to_its_link(tmp_path: Path, embedder: Embedder) -> None:
    shop = await built(tmp_path, keep=True)
    store = Originals(shop)
    store._connection.execute("UPDATE contents SET content = x'00'")
    store.close()
    activate(shop, (await reembedded(shop, embedder)).number)
    assert shades(shop) == {"p1": [10, 200], "p2": [20], "p3": [30]}


async def test_a_run_after_a_change_embeds_only_what_changed(tmp_path: Path, embedder: Embedder) -> None:
    shop = await built(tmp_path)
    first = await reembedded(shop, embedder)
    assert embedder.images == 4
    write_picture(tmp_path / "images" / "new.png", 120)
    write_picture(tmp_path / "images" / "2b.png", 130)
    await upserted(shop, [{"id": "p2", "image_link": "2b.png"}, {"id": "p9", "image_link": "new.png"}])
    with LivingCatalog(shop) as living:
        living.update([ProductUpdate("p3", {"title": "new title"})])
        living.delete(["p1"])
        living.checkpoint()
        with pytest.raises(SightlineError, match=r"1 new, 1 changed.*reembed. again"):
            living.store.rollback(first.number)
    second = await reembedded(shop, embedder)
    assert embedder.images == 6
    with LivingCatalog(shop) as living:
        living.update([ProductUpdate("p9", {"title": "later"})])
        living.store.rollback(second.number)
    assert shades(shop) == {"p2": [130], "p3": [30], "p9": [120]}
    titles = {row["id"]: row["title"] for row in open_catalog(shop, OTHER).display.to_pylist()}
    assert titles == {"p2": "", "p3": "new title", "p9": "later"}


async def test_the_way_back_is_a_run_that_embeds_only_what_was_written_since(
    tmp_path: Path, embedder: Embedder
) -> None:
    shop = await built(tmp_path)
    activate(shop, (await reembedded(shop, embedder)).number)
    job = Reembed(shop, SPEC, ReembedOptions(LIMITS, tmp_path / "images"))
    assert (job.work.missing, job.work.reused) == (0, 3)
    assert job.work.ready is None, "revision 1 was not prepared, so writes since would be lost"
    with EmbeddingCache(shop, SPEC) as cache:
        await job.embed(cache, shade_embed, Progress())
        with LivingCatalog(shop) as living:
            living.update([ProductUpdate("p3", {"title": "written with the other embedder"})])
            living.store.rollback(job.prepare(cache, living, lambda done: None).number)
    catalog = open_catalog(shop, SPEC)
    assert catalog.facts.products == 3
    assert "written with the other embedder" in catalog.display["title"].to_pylist()


async def test_a_prepared_revision_that_is_whole_is_ready(tmp_path: Path, embedder: Embedder) -> None:
    shop = await built(tmp_path)
    revision = await reembedded(shop, embedder)
    again = Reembed(shop, OTHER, ReembedOptions(LIMITS))
    assert again.work.ready == revision
    write_picture(tmp_path / "images" / "new.png", 120)
    await upserted(shop, [{"id": "p9", "image_link": "new.png"}])
    assert Reembed(shop, OTHER, ReembedOptions(LIMITS)).work.ready is None


async def test_an_interrupted_run_is_continued(tmp_path: Path, embedder: Embedder) -> None:
    shop = await built(tmp_path, 70)
    embedder.fail_after = 33
    with pytest.raises(SightlineError, match="the engine has stopped"):
        await reembedded(shop, embedder)
    done = embedder.images
    assert done == 33
    assert (shop / CACHE).exists()
    embedder.fail_after = 1_000_000
    revision = await reembedded(shop, embedder)
    assert embedder.images == 71
    assert (revision.rows, revision.items) == (70, 71)
    assert not (shop / CACHE).exists()


async def test_a_cancelled_run_keeps_what_was_embedded(tmp_path: Path, embedder: Embedder) -> None:
    shop = await built(tmp_path, 70)
    reached = asyncio.Event()

    async def embed(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        if embedder.images:
            reached.set()
            await asyncio.Event().wait()
        return await embedder(crops)

    with EmbeddingCache(shop, OTHER) as cache:
        job = Reembed(shop, OTHER, ReembedOptions(LIMITS, tmp_path / "images"))
        task = asyncio.create_task(job.embed(cache, embed, Progress()))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert embedder.images == 33
    await reembedded(shop, embedder)
    assert embedder.images == 71


async def test_an_image_of_many_products_is_embedded_once(tmp_path: Path, embedder: Embedder) -> None:
    write_picture(tmp_path / "images" / "a.png", 50)
    rows = [{"id": f"p{number}", "image_link": "a.png"} for number in range(70)]
    feed = write_feed(tmp_path / "images" / "feed.csv", rows)
    await build_catalog(BuildOptions(feed, tmp_path / "shop", LIMITS), SPEC, shade_embed, BUILT)
    with LivingCatalog(tmp_path / "shop"):
        pass
    revision = await reembedded(tmp_path / "shop", embedder)
    assert (revision.rows, embedder.images) == (70, 1)


@pytest.mark.parametrize("images", [True, False])
async def test_a_missing_image_refuses_the_revision_and_is_reported(
    tmp_path: Path, embedder: Embedder, images: bool
) -> None:
    shop = await built(tmp_path)
    if images:
        (tmp_path / "images" / "2.png").unlink()
    problems: list[str] = []
    with pytest.raises(SightlineError, match="--skip-missing" if images else "no image of any product") as refused:
        await reembedded(shop, embedder, problems=problems, images=images)
    assert refused.value.kind is ErrorKind.INVALID_REQUEST
    with LivingCatalog(shop) as living:
        assert [each.kind for each in living.store.revisions] == [RevisionKind.BUILD]
    if images:
        assert problems == ["row 2 (p2): 2.png: there is no such file"]
        write_picture(tmp_path / "images" / "2.png", 20)
        assert (await reembedded(shop, embedder)).rows == 3
        assert embedder.images == 4
    else:
        assert "name the folder that it starts from with --images" in problems[0]


async def test_skipped_products_are_left_out_of_the_activated_revision(tmp_path: Path, embedder: Embedder) -> None:
    shop = await built(tmp_path, 30)
    (tmp_path / "images" / "2.png").unlink()
    (tmp_path / "images" / "more.png").write_bytes(b"not an image")
    problems: list[str] = []
    revision = await reembedded(shop, embedder, problems=problems, skip_missing=True)
    assert (revision.rows, revision.items) == (29, 29)
    assert [each.split(":")[0] for each in problems] == ["row 1 (p1)", "row 2 (p2)"]
    with LivingCatalog(shop) as living:
        living.update([ProductUpdate("p2", {"title": "still left out"}), ProductUpdate("p3", {"title": "new"})])
        living.store.rollback(revision.number)
    found = shades(shop)
    assert len(found) == 29
    assert "p2" not in found
    assert found["p1"] == [10]


async def test_a_skipped_product_with_a_new_image_makes_the_activation_refuse(
    tmp_path: Path, embedder: Embedder
) -> None:
    shop = await built(tmp_path, 12)
    (tmp_path / "images" / "2.png").unlink()
    revision = await reembedded(shop, embedder, skip_missing=True)
    write_picture(tmp_path / "images" / "2.png", 99)
    await upserted(shop, [{"id": "p2", "image_link": "2.png"}])
    with pytest.raises(SightlineError, match="1 new"):
        activate(shop, revision.number)
    again = await reembedded(shop, embedder)
    activate(shop, again.number)
    assert shades(shop)["p2"] == [99]


async def test_another_run_tries_skipped_products_again(tmp_path: Path, embedder: Embedder) -> None:
    shop = await built(tmp_path, 12)
    (tmp_path / "images" / "2.png").unlink()
    await reembedded(shop, embedder, skip_missing=True)
    write_picture(tmp_path / "images" / "2.png", 20)
    before = embedder.images
    revision = await reembedded(shop, embedder)
    assert (revision.rows, embedder.images - before) == (12, 1)


async def test_more_losses_than_allowed_refuse_the_revision(tmp_path: Path, embedder: Embedder) -> None:
    shop = await built(tmp_path, 4)
    (tmp_path / "images" / "2.png").unlink()
    with pytest.raises(SightlineError, match=r"1 of 4 products were lost \(25 %\).*--max-lost allows 10 %"):
        await reembedded(shop, embedder, skip_missing=True)
    assert (await reembedded(shop, embedder, skip_missing=True, max_lost=0.25)).rows == 3


async def test_products_that_are_written_meanwhile_are_left_to_the_next_run(tmp_path: Path, embedder: Embedder) -> None:
    shop = await built(tmp_path)
    job = Reembed(shop, OTHER, ReembedOptions(LIMITS, tmp_path / "images"))
    write_picture(tmp_path / "images" / "new.png", 120)
    await upserted(shop, [{"id": "p9", "image_link": "new.png"}, {"id": "p2", "image_link": "new.png"}])
    with EmbeddingCache(shop, OTHER) as cache:
        await job.embed(cache, embedder, Progress())
        with LivingCatalog(shop) as living:
            first = job.prepare(cache, living, lambda done: None)
            with pytest.raises(SightlineError, match="1 new, 1 changed"):
                living.store.rollback(first.number)
    activate(shop, (await reembedded(shop, embedder)).number)
    assert shades(shop) == {"p1": [10, 200], "p2": [120], "p3": [30], "p9": [120]}


async def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    shop = await built(tmp_path)
    with EmbeddingCache(shop, OTHER):
        with pytest.raises(SightlineError, match="another process reembeds") as refused, EmbeddingCache(shop, SPEC):
            pass
        assert refused.value.kind is ErrorKind.CONFIGURATION
    with EmbeddingCache(shop, SPEC):
        pass
    assert not list(shop.glob("*REEMBED*"))


async def test_embeddings_of_another_embedder_are_not_reused(tmp_path: Path) -> None:
    shop = await built(tmp_path)
    vector = vectors_of([7])[0]
    with EmbeddingCache(shop, OTHER) as cache:
        cache.add({b"image": (vector, "file")})
    for other in (replace(OTHER, sha256="ee" * 32), replace(OTHER, height=8), replace(OTHER, dimension=4)):
        with EmbeddingCache(shop, other) as cache:
            assert cache.get(b"image") is None
    with EmbeddingCache(shop, replace(OTHER, version="2", instances=3)) as cache:
        found = cache.get(b"image")
        assert found is not None
        assert np.array_equal(found[0], [vector])
        assert found[1] == "file"


async def test_a_catalog_of_the_same_embedder_has_nothing_to_embed(tmp_path: Path) -> None:
    shop = await built(tmp_path)
    with pytest.raises(SightlineError, match="is embedded by tiny@abababababab already"):
        Reembed(shop, SPEC, ReembedOptions(LIMITS))


async def test_all_that_is_missing_may_be_left_out(tmp_path: Path, embedder: Embedder) -> None:
    shop = await built(tmp_path)
    await reembedded(shop, embedder)
    write_picture(tmp_path / "images" / "new.png", 120)
    await upserted(shop, [{"id": "p9", "image_link": "new.png"}])
    (tmp_path / "images" / "new.png").unlink()
    with pytest.raises(SightlineError, match="--max-lost"):
        await reembedded(shop, embedder, skip_missing=True)
    activate(shop, (await reembedded(shop, embedder, skip_missing=True, max_lost=1.0)).number)
    assert shades(shop) == {"p1": [10, 200], "p2": [20], "p3": [30]}


async def test_a_damaged_file_of_embeddings_is_named_with_the_remedy(tmp_path: Path, embedder: Embedder) -> None:
    shop = await built(tmp_path)
    (shop / CACHE).write_bytes(b"nothing that SQLite reads" * 100)
    with pytest.raises(SightlineError, match="remove it: the images are embedded again") as refused:
        await reembedded(shop, embedder)
    assert refused.value.kind is ErrorKind.CONFIGURATION
    (shop / CACHE).unlink()
    assert (await reembedded(shop, embedder)).rows == 3
