"""Generations of a catalog: prepared next to the current one, made current by one revision, and gone back from."""

import errno
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline_server.catalog import held, preparing
from sightline_server.catalog.base import Base
from sightline_server.catalog.checkpoint import Checkpoint
from sightline_server.catalog.content import read_revision
from sightline_server.catalog.disk_use import disk_use
from sightline_server.catalog.durable import NewFiles
from sightline_server.catalog.log import Log, read_recorded
from sightline_server.catalog.log_file import LOG
from sightline_server.catalog.new_base import NewBase
from sightline_server.catalog.revisions import RevisionKind
from sightline_server.catalog.store import CatalogStore
from sightline_server.catalog.verify import verify
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adopting import adopt
from sightline_server.index.catalog import facts_of, open_catalog, read_facts
from sightline_server.index.catalogs_folder import CatalogsFolder
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.reembedding import EmbeddedImages, LeftOut, Reembedding
from sightline_server.index.stored_rows import stored_rows
from tests.support.catalogs import SPEC, row, unit_vectors, write_catalog
from tests.support.generations import OTHER, embedded, prepare


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with 5 products of 2 images."""
    shop = tmp_path_factory.mktemp("template") / "shop"
    write_catalog(shop, [row(f"p{n}", unit_vectors(2, n), title=f"title {n}") for n in range(5)])
    adopt(shop)
    return shop


@pytest.fixture
def shop(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "shop"))


@pytest.fixture
def living(shop: Path) -> Iterator[LivingCatalog]:
    with LivingCatalog(shop) as opened:
        yield opened


def titles(shop: Path) -> dict[str, str]:
    return {each["id"]: each["title"] for each in open_catalog(shop).display.to_pylist()}


def vectors_of(shop: Path, product_id: str) -> list[list[float]]:
    found = open_catalog(shop)
    place = found.display["id"].to_pylist().index(product_id)
    vectors: list[list[float]] = found.vectors[found.owners == place].tolist()
    return vectors


def format_of(shop: Path) -> int:
    with sqlite3.connect(shop / LOG) as connection:
        return int(connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()[0])


def require_intact(shop: Path) -> None:
    assert [finding.text for finding in verify(shop, all_revisions=True) if not finding.good] == []


def bases(shop: Path) -> list[str]:
    return sorted(path.name for path in shop.glob("base*.lance"))


def test_a_prepared_generation_changes_nothing_until_it_is_activated(shop: Path, living: LivingCatalog) -> None:
    before = open_catalog(shop)
    made = prepare(shop, living)
    assert (made.kind, made.generation, made.rows, made.items) == (RevisionKind.PREPARED, 2, 5, 10)
    assert read_facts(shop).embedder == SPEC
    assert open_catalog(shop).revision == before.revision
    assert living.store.current_revision.number == 1
    living.update([ProductUpdate("p1", {"title": "changed"})])
    living.checkpoint()
    living.delete(["p0"])
    switched = living.store.rollback(made.number)
    assert (switched.kind, switched.generation, switched.number) == (RevisionKind.ROLLBACK, 2, made.number + 3)
    assert titles(shop) == {"p1": "changed", "p2": "title 2", "p3": "title 3", "p4": "title 4"}
    assert open_catalog(shop, OTHER).vectors.shape == (8, 12)
    assert living.embedder == OTHER
    require_intact(shop)


def test_a_generation_is_prepared_and_written_past_while_a_checkpoint_is_read_ahead(shop: Path) -> None:
    reads, free = threading.Event(), threading.Event()

    def pause() -> None:
        reads.set()
        assert free.wait(30)

    with LivingCatalog(shop, store=CatalogStore(shop, pause=pause)) as living:
        living.update([ProductUpdate("p1", {"title": "changed"})])
        ahead: list[Checkpoint | None] = []
        reader = threading.Thread(target=lambda: ahead.append(living.store.read_ahead()))
        reader.start()
        assert reads.wait(30)
        work = Reembedding(shop, OTHER)
        made = work.prepare(living.store, embedded(work))
        living.delete(["p0"])
        free.set()
        reader.join(30)
        assert living.checkpoint("", ahead[0]).rows == 5
        assert living.store.pending == 1
        living.store.rollback(made.number)
    assert titles(shop) == {"p1": "changed", "p2": "title 2", "p3": "title 3", "p4": "title 4"}
    require_intact(shop)


def test_a_catalog_in_its_second_generation_is_written_on(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        living.delete(["p4"], "request-1")
        living.store.rollback(prepare(shop, living).number)
        with pytest.raises(SightlineError, match="expected \\[1, 12\\]"):
            living.upsert([row("new", unit_vectors(1, 9))])
        living.upsert([row("new", unit_vectors(1, 9, 12), title="new")])
        living.update([ProductUpdate("p1", {"title": "changed"})])
    with LivingCatalog(shop) as living:
        assert living.embedder == OTHER
        assert living.delete(["p4"], "request-1").repeated
        living.checkpoint()
        living.delete(["p0"])
        living.store.compact()
    assert titles(shop) == {"p1": "changed", "p2": "title 2", "p3": "title 3", "new": "new"}
    assert vectors_of(shop, "new") == unit_vectors(1, 9, 12).astype("float16").tolist()
    require_intact(shop)


def test_a_revision_without_embeddings_of_new_images_is_refused_and_counts_them(
    shop: Path, living: LivingCatalog
) -> None:
    made = prepare(shop, living)
    living.upsert([row("new", unit_vectors(1, 9)), row("p3", unit_vectors(2, 33), title="same links")])
    living.update([ProductUpdate("p1", {"title": "changed"})])
    living.upsert([row("newer", unit_vectors(1, 19))])
    with pytest.raises(SightlineError, match=r"images of 3 products .*\(2 new, 1 changed\).*as it was") as caught:
        living.store.rollback(made.number)
    assert caught.value.kind is ErrorKind.REVISION_OUTDATED
    assert caught.value.metadata == {"new": "2", "changed": "1"}
    assert (living.embedder, titles(shop)["p3"]) == (SPEC, "same links")
    work = Reembedding(shop, OTHER)
    assert (work.missing, work.reused) == (3, 4)
    assert sorted(each.product.id for each in work.products()) == ["new", "newer", "p3"]
    again = work.prepare(living.store, embedded(work))
    living.store.rollback(again.number)
    assert titles(shop)["p1"] == "changed"
    assert open_catalog(shop, OTHER).vectors.shape == (12, 12)
    require_intact(shop)


def test_going_back_is_a_rollback_to_the_same_digest(shop: Path, living: LivingCatalog) -> None:
    first = living.store.current_revision
    switched = living.store.rollback(prepare(shop, living).number)
    back = living.store.rollback(first.number)
    assert (back.digest, back.generation) == (first.digest, 1)
    assert open_catalog(shop, SPEC).vectors.shape == (10, 8)
    forth = living.store.rollback(switched.number)
    assert (forth.digest, forth.generation) == (switched.digest, 2)
    living.delete(["p0"])
    living.checkpoint()
    require_intact(shop)


def test_the_way_back_with_all_writes_embeds_only_what_is_new(shop: Path, living: LivingCatalog) -> None:
    before = vectors_of(shop, "p2")
    living.store.rollback(prepare(shop, living).number)
    living.upsert([row("new", unit_vectors(1, 9, 12), title="new")])
    living.update([ProductUpdate("p2", {"title": "changed"})])
    work = Reembedding(shop, SPEC)
    assert (work.missing, work.reused) == (1, 5)
    third = work.prepare(living.store, embedded(work))
    assert living.store.rollback(third.number).generation == third.generation == 3
    assert vectors_of(shop, "p2") == before
    assert (titles(shop)["p2"], titles(shop)["new"]) == ("changed", "new")
    require_intact(shop)


def test_a_partial_preparation_is_continued(shop: Path, living: LivingCatalog) -> None:
    work = Reembedding(shop, OTHER)
    first = work.prepare(living.store, list(embedded(work))[:2])
    with pytest.raises(SightlineError, match=r"3 products .*\(3 new, 0 changed\)"):
        living.store.rollback(first.number)
    again = Reembedding(shop, OTHER)
    assert (again.missing, again.reused) == (3, 2)
    living.store.rollback(again.prepare(living.store, embedded(again)).number)
    assert len(titles(shop)) == 5


def test_an_image_that_could_not_be_embedded_is_left_out(shop: Path, living: LivingCatalog) -> None:
    work = Reembedding(shop, OTHER)
    some = [EmbeddedImages(each.id, each.images[1:], each.embeddings[1:]) for each in embedded(work)]
    living.store.rollback(work.prepare(living.store, some).number)
    assert open_catalog(shop, OTHER).image_links.to_pylist() == [f"p{n}-1.jpg" for n in range(5)]


def test_products_that_are_left_out_on_purpose_do_not_keep_a_catalog_from_switching(
    shop: Path, living: LivingCatalog
) -> None:
    work = Reembedding(shop, OTHER)
    some = [LeftOut(each.id) if each.id in ("p1", "p2") else each for each in embedded(work)]
    made = work.prepare(living.store, some)
    living.upsert([row("p2", unit_vectors(1, 70))])
    with pytest.raises(SightlineError, match=r"images of 1 product "):
        living.store.rollback(made.number)
    living.delete(["p2"])
    living.store.rollback(made.number)
    assert sorted(titles(shop)) == ["p0", "p3", "p4"]
    require_intact(shop)


def test_the_embedder_of_now_is_refused(shop: Path, living: LivingCatalog) -> None:
    with pytest.raises(SightlineError, match=r"embedded by tiny.* already") as caught:
        Reembedding(shop, SPEC)
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_writes_go_on_while_a_generation_is_prepared(shop: Path, living: LivingCatalog) -> None:
    work = Reembedding(shop, OTHER)

    def while_embedded() -> Iterator[EmbeddedImages]:
        for each in embedded(work):
            living.update([ProductUpdate(each.id, {"title": f"new title of {each.id}"})])
            living.checkpoint()
            yield each

    living.store.rollback(work.prepare(living.store, while_embedded()).number)
    assert titles(shop) == {f"p{n}": f"new title of p{n}" for n in range(5)}


def wrong_products(case: str, work: Reembedding) -> Iterator[EmbeddedImages]:
    some = list(embedded(work))
    yield some[0]
    if case == "twice":
        yield some[0]
    elif case == "unknown":
        yield EmbeddedImages("nobody", ("a",), unit_vectors(1, 1, 12))
    elif case == "dimension":
        yield EmbeddedImages(some[1].id, ("a",), unit_vectors(1, 1, 11))
    elif case == "length":
        yield EmbeddedImages(some[1].id, ("a",), 2 * unit_vectors(1, 1, 12))
    elif case == "images":
        yield EmbeddedImages(some[1].id, ("a",) * 21, unit_vectors(21, 1, 12))
    else:
        raise KeyError("the embedder failed")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("twice", "has each product once"),
        ("unknown", "product 'nobody': it is not among"),
        ("dimension", r"product 'p1': .*\[1, 12\]"),
        ("length", "has length 2, expected 1"),
        ("images", "expected 1 to 20"),
        ("engine", "the embedder failed"),
    ],
)
def test_products_that_cannot_be_stored_end_the_preparation(
    shop: Path, living: LivingCatalog, case: str, message: str
) -> None:
    work = Reembedding(shop, OTHER)
    with pytest.raises((SightlineError, KeyError), match=message):
        work.prepare(living.store, wrong_products(case, work))
    assert (bases(shop), format_of(shop)) == (["base.lance"], 2)
    assert [each.number for each in living.store.revisions] == [1]


def no_space(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class CrashError(Exception):
    """Stands for the end of the process: nothing after it is done."""


PREPARING = [
    (NewBase, "add"),
    (NewBase, "commit"),
    (preparing, "sync_tree"),
    (held, "sync_tree"),
    (held, "sync"),
    (Base, "set_tags"),
    (Log, "prepare"),
]
SWITCHING = [
    (Base, "restore"),
    (Base, "replace"),
    (Base, "set_tags"),
    (NewFiles, "sync"),
    (Log, "record"),
]


@pytest.mark.parametrize(("owner", "name"), PREPARING)
def test_a_preparation_that_fails_changes_nothing(
    shop: Path, living: LivingCatalog, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, no_space)
        with pytest.raises(SightlineError, match="No space left on device") as caught:
            prepare(shop, living)
        assert caught.value.kind is ErrorKind.OVERLOADED
    assert titles(shop) == {f"p{n}": f"title {n}" for n in range(5)}
    living.delete(["p0"])
    assert bases(shop) == ["base.lance"]
    living.store.rollback(prepare(shop, living).number)
    assert len(titles(shop)) == 4
    require_intact(shop)


@pytest.mark.parametrize(("owner", "name"), [(NewBase, "commit"), (held, "sync"), (Log, "prepare")])
def test_a_crash_in_a_preparation_leaves_nothing(
    shop: Path, living: LivingCatalog, tmp_path: Path, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "left"

    def crash(*arguments: Any, **options: Any) -> None:
        shutil.copytree(shop, left)
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, crash)
        with pytest.raises(CrashError):
            prepare(shop, living)
    (left / "base-7.lance" / "data").mkdir(parents=True)
    assert any("base-7.lance" in finding.text for finding in verify(left))
    require_intact(left)
    with LivingCatalog(left) as opened:
        assert (bases(left), len(opened.store.revisions), opened.embedder) == (["base.lance"], 1, SPEC)
        opened.store.rollback(prepare(left, opened).number)
    assert open_catalog(left, OTHER).vectors.shape == (10, 12)


@pytest.mark.parametrize(
    ("owner", "name", "crashes"),
    [*((*each, False) for each in SWITCHING), (Base, "replace", True), (NewFiles, "sync", True), (Log, "record", True)],
)
def test_a_switch_that_fails_changes_nothing(
    shop: Path, tmp_path: Path, owner: Any, name: str, crashes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "left"

    def crash(*arguments: Any, **options: Any) -> None:
        shutil.copytree(shop, left)
        raise CrashError

    with LivingCatalog(shop) as living:
        made = prepare(shop, living)
        living.update([ProductUpdate("p1", {"title": "changed"})])
        living.checkpoint()
        before = open_catalog(shop)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, crash if crashes else no_space)
            with pytest.raises((SightlineError, CrashError)):
                living.store.rollback(made.number)
        after = open_catalog(shop, SPEC)
        assert (after.revision, after.vectors.tolist()) == (before.revision, before.vectors.tolist())
        if not crashes:
            shutil.copytree(shop, left)
    with LivingCatalog(left) as living:
        assert living.embedder == SPEC
        living.delete(["p0"])
        living.store.rollback(made.number)
        assert titles(left) == {"p1": "changed", "p2": "title 2", "p3": "title 3", "p4": "title 4"}
    require_intact(left)


def test_a_log_gets_its_new_format_with_the_second_generation(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        living.delete(["p0"])
        living.checkpoint()
        assert format_of(shop) == 2
        prepare(shop, living)
        assert format_of(shop) == 3
    assert [each.generation for each in read_recorded(shop).revisions] == [2, 1, 1]
    with sqlite3.connect(shop / LOG) as connection:
        connection.execute("UPDATE meta SET value = 5 WHERE key = 'format'")
    with pytest.raises(SightlineError, match="has format 5, this version of Sightline reads 4"):
        read_recorded(shop)


def test_an_earlier_revision_is_read_with_its_own_embedder(shop: Path, living: LivingCatalog) -> None:
    living.store.rollback(prepare(shop, living).number)
    for number, spec in ((1, SPEC), (2, OTHER), (3, OTHER)):
        assert facts_of(read_revision(shop, number)).embedder == spec
        rows = [each for some in stored_rows(shop, number).checked() for each in some]
        assert [each.embeddings.shape for each in rows] == [(2, spec.dimension)] * 5


def test_a_compaction_removes_generations_of_which_nothing_is_kept(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        living.store.rollback(prepare(shop, living).number)
        assert disk_use(shop).base_versions >= 3
        assert bases(shop) == ["base-2.lance", "base.lance"]
        living.store.compact(1)
        assert bases(shop) == ["base-2.lance"]
        with pytest.raises(SightlineError, match="content of revision 1 was removed"):
            living.store.rollback(1)
    with LivingCatalog(shop) as living:
        living.delete(["p0"])
        work = Reembedding(shop, SPEC)
        assert (work.missing, work.reused) == (4, 0)
        living.store.rollback(work.prepare(living.store, embedded(work)).number)
    assert bases(shop) == ["base-2.lance", "base-3.lance"]
    require_intact(shop)


def test_forgetting_the_oldest_revisions_keeps_the_newest_of_other_generations(shop: Path) -> None:
    with LivingCatalog(shop, store=CatalogStore(shop, keep=2)) as living:
        made = prepare(shop, living)
        for number in range(8):
            living.update([ProductUpdate("p1", {"title": f"{number}"})])
            living.checkpoint()
        assert made.number in {each.number for each in living.store.revisions if each.base_version is not None}
        switched = living.store.rollback(made.number)
        assert titles(shop)["p1"] == "7"
        for number in range(8):
            living.update([ProductUpdate("p2", {"title": f"{number}"})])
            living.checkpoint()
        kept = [each for each in living.store.revisions if each.base_version is not None]
        assert [each.number for each in kept if each.generation == 1] == [switched.number - 1]
        assert len(kept) <= 9
        require_intact(shop)
        living.store.rollback(switched.number - 1)
    assert (titles(shop)["p1"], titles(shop)["p2"]) == ("7", "title 2")
    assert read_facts(shop).embedder == SPEC


def test_a_catalog_without_products_can_change_its_embedder(tmp_path: Path) -> None:
    with CatalogsFolder(tmp_path) as folder:
        shop = folder.create("empty", SPEC)
    with LivingCatalog(shop) as living:
        living.store.rollback(prepare(shop, living).number)
        living.upsert([row("first", unit_vectors(1, 1, 12))])
    assert open_catalog(shop, OTHER).vectors.shape == (1, 12)
    require_intact(shop)


def test_an_activation_that_is_sent_again_takes_no_write_back(shop: Path, living: LivingCatalog) -> None:
    made = prepare(shop, living)
    switched = living.store.rollback(made.number)
    living.delete(["p0"])
    assert living.store.rollback(made.number) == switched
    assert sorted(titles(shop)) == ["p1", "p2", "p3", "p4"]
    living.checkpoint()
    assert living.store.rollback(switched.number).digest == switched.digest
    assert len(titles(shop)) == 5
