"""Files of a catalog that are in the way, gone or changed: what is asked works, or its error says what to do."""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline_server.catalog import log_file, manifests
from sightline_server.catalog.base import Base
from sightline_server.catalog.lock import LOCK
from sightline_server.catalog.log_file import LOG
from sightline_server.catalog.refusals import refusal
from sightline_server.catalog.store import CatalogStore
from sightline_server.catalog.verify import verify
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.adopting import adopt
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.opened_catalog import Catalog
from tests.support.catalogs import row, unit_vectors, write_catalog

Damage = Callable[[Path], object]
WHOLE = {"p1": "changed", "p2": "title 2", "new": ""}
TAGS = "base.lance/_refs/tags"
VERSIONS = "base.lance/_versions"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with three revisions and an operation after them."""
    shop = tmp_path_factory.mktemp("template") / "shop"
    write_catalog(shop, [row(f"p{n}", unit_vectors(1, n), title=f"title {n}") for n in range(3)])
    with LivingCatalog(shop) as living:
        living.upsert([row("new", unit_vectors(1, 9))])
        living.checkpoint()
        living.delete(["p0"])
        living.checkpoint()
        living.update([ProductUpdate("p1", {"title": "changed"})])
    return shop


@pytest.fixture
def shop(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "shop"))


def titles(shop: Path) -> dict[str, str]:
    return {each["id"]: each["title"] for each in open_catalog(shop).display.to_pylist()}


def bad(shop: Path) -> list[str]:
    return [finding.text for finding in verify(shop, all_revisions=True) if not finding.good]


def write_later(shop: Path) -> None:
    """Writes as usual and checks all of it."""
    with LivingCatalog(shop) as living:
        living.upsert([row("later", unit_vectors(1, 20), title="later")])
        living.checkpoint()
        living.store.compact()
    assert titles(shop) == WHOLE | {"later": "later"}
    assert bad(shop) == []


def manifest(shop: Path, number: int) -> Path:
    """The manifest of the version that holds revision `number`."""
    with CatalogStore(shop) as store:
        [version] = [each.base_version for each in store.revisions if each.number == number]
    assert version is not None
    return shop / VERSIONS / f"{manifests.LARGEST - version}.manifest"


def overwrite_all(folder: str, content: bytes) -> Damage:
    return lambda shop: [path.write_bytes(content) for path in (shop / folder).iterdir()]


def moved(name: str) -> Damage:
    """Moves a file to another folder and leaves a link."""

    def move(shop: Path) -> None:
        (shop / name).rename(shop.parent / "elsewhere")
        (shop / name).symlink_to(shop.parent / "elsewhere")

    return move


HARMLESS: dict[str, Damage] = {
    "marks removed": lambda shop: shutil.rmtree(shop / TAGS),
    "marks of garbage": overwrite_all(TAGS, b"garbage"),
    "empty marks": overwrite_all(TAGS, b""),
    "marks of other versions": overwrite_all(TAGS, b'{"version": 1, "manifestSize": 1}'),
    "hint of garbage": lambda shop: (shop / VERSIONS / manifests.HINT).write_bytes(b"garbage"),
    "hint of no version": lambda shop: (shop / VERSIONS / manifests.HINT).write_bytes(b'{"version": 99}'),
    "transactions removed": lambda shop: shutil.rmtree(shop / "base.lance/_transactions"),
    "lock removed": lambda shop: (shop / LOCK).unlink(),
    "lock of garbage": lambda shop: (shop / LOCK).write_bytes(b"\xff\0" * 50),
    "log elsewhere": moved(LOG),
    "base elsewhere": moved("base.lance"),
    "shared memory of garbage": lambda shop: (shop / f"{LOG}-shm").write_bytes(os.urandom(32_768)),
    "foreign files": lambda shop: [(shop / name).write_bytes(b"x") for name in ("README", "base.lance/data/x")],
    "no quarantine to move to": lambda shop: (shop / manifests.QUARANTINE).write_bytes(b"x"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_files_that_follow_from_others_are_made_again(shop: Path, name: str) -> None:
    HARMLESS[name](shop)
    assert titles(shop) == WHOLE
    write_later(shop)


@pytest.mark.parametrize("marks", [True, False], ids=["marked", "without marks"])
def test_a_version_that_was_removed_by_hand_costs_only_its_revision(shop: Path, marks: bool) -> None:
    manifest(shop, 2).unlink()
    if not marks:
        shutil.rmtree(shop / TAGS)
    assert titles(shop) == WHOLE
    assert bad(shop) == ["revision 2: its files are missing or damaged"]
    with LivingCatalog(shop) as living:
        with pytest.raises(SightlineError, match=r"revision 2: .*missing or damaged; nothing was changed") as caught:
            living.store.rollback(2)
        assert caught.value.kind is ErrorKind.CONFIGURATION
        assert titles(shop) == WHOLE
        living.store.rollback(1)
        assert titles(shop) == {f"p{n}": f"title {n}" for n in range(3)}
        living.store.compact(1)
    assert bad(shop) == []


def changed_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"title 0")] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [changed_byte, Path.unlink, lambda path: os.truncate(path, 0)])
def test_a_rollback_to_damaged_content_is_refused_and_the_current_one_stays(
    shop: Path, damage: Callable[[Path], object]
) -> None:
    with LivingCatalog(shop) as living:
        # All rows are in a separate file from now on.
        living.upsert([row(name, unit_vectors(1, n), title=title) for n, (name, title) in enumerate(WHOLE.items())])
        living.checkpoint()
        living.store.compact()
        assert titles(shop) == WHOLE
        for path in (shop / "base.lance/data").iterdir():
            if b"title 0" in path.read_bytes():
                damage(path)
        with pytest.raises(SightlineError, match=r"revision 1: .*nothing was changed") as caught:
            living.store.rollback(1)
        assert caught.value.kind is ErrorKind.CONFIGURATION
        assert living.store.revisions[0].kind.value == "checkpoint"
    write_later_without_checks(shop)


def write_later_without_checks(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        living.upsert([row("later", unit_vectors(1, 20), title="later")])
        living.checkpoint()
    assert titles(shop) == WHOLE | {"later": "later"}


def test_an_intact_revision_is_restored_although_the_current_one_is_damaged(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        living.checkpoint()
    for path in (shop / "base.lance/_deletions").iterdir():
        path.write_bytes(b"garbage")
    with LivingCatalog(shop) as living:
        living.store.rollback(1)
    assert titles(shop) == {f"p{n}": f"title {n}" for n in range(3)}


@pytest.mark.parametrize("name", [LOG, f"{LOG}-wal"])
@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_a_log_that_is_lost_while_it_is_written_ends_the_writing(shop: Path, name: str, replaced: bool) -> None:
    with LivingCatalog(shop) as living:
        living.delete(["p2"])
        copy = shutil.copy2(shop / name, shop.parent / "copy")
        (shop / name).rename(shop.parent / "away")
        if replaced:
            Path(copy).rename(shop / name)
        for change in (lambda: living.delete(["p1"]), living.checkpoint, lambda: living.store.rollback(1)):
            with pytest.raises(SightlineError, match=f"{name} was removed or replaced") as caught:
                change()
            assert caught.value.kind is ErrorKind.CONFIGURATION
        (shop.parent / "away").rename(shop / name)
        living.delete(["p1"])
    assert titles(shop) == {"new": ""}
    assert bad(shop) == []


def test_a_folder_in_place_of_the_lock_is_named(shop: Path) -> None:
    (shop / LOCK).unlink()
    (shop / LOCK).mkdir()
    assert titles(shop) == WHOLE
    with pytest.raises(SightlineError, match=f"move what is at {shop / LOCK} away"), LivingCatalog(shop):
        pass
    (shop / LOCK).rmdir()
    write_later(shop)


def test_unfinished_files_that_cannot_be_moved_aside_are_named(shop: Path) -> None:
    (shop / manifests.QUARANTINE).write_bytes(b"x")
    newest = manifest(shop, 3)
    (newest.parent / f"{int(newest.stem) - 1}.manifest").write_bytes(b"")
    assert titles(shop) == WHOLE
    with (
        pytest.raises(SightlineError, match=f"move what is at {shop / manifests.QUARANTINE} away"),
        LivingCatalog(shop),
    ):
        pass
    (shop / manifests.QUARANTINE).unlink()
    write_later(shop)


@pytest.mark.parametrize("form", [1, 2])
def test_a_catalog_behind_a_link_is_changed_where_it_is(shop: Path, tmp_path: Path, form: int) -> None:
    target = shop
    if form == 1:
        target = tmp_path / "built"
        write_catalog(target, [row(name, unit_vectors(1), title=title) for name, title in WHOLE.items()])
    link = tmp_path / "current"
    link.symlink_to(target)
    with LivingCatalog(link) as living:
        with pytest.raises(SightlineError, match="writes to the catalog at"), LivingCatalog(target):
            pass
        living.upsert([row("later", unit_vectors(1, 20), title="later")])
        living.checkpoint()
    assert link.is_symlink()
    assert titles(link) == titles(target) == WHOLE | {"later": "later"}
    assert not list(tmp_path.glob("*.partial-*"))


@pytest.mark.parametrize("target", ["nowhere", "loop"])
def test_a_link_to_no_catalog_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / target)
    with pytest.raises(SightlineError, match="there is no catalog at") as caught, LivingCatalog(tmp_path / "loop"):
        pass
    assert caught.value.kind is ErrorKind.CONFIGURATION


def test_two_first_writers_at_once_are_one_writer(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write_catalog(shop, [row(f"p{n}", unit_vectors(1, n)) for n in range(50)])
    outcomes: list[str] = []
    barrier = threading.Barrier(4)

    def take_over() -> None:
        barrier.wait()
        try:
            outcomes.append("adopted" if adopt(shop) else "was adopted")
        except SightlineError as error:
            outcomes.append(error.kind.name)

    threads = [threading.Thread(target=take_over) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("adopted") == 1
    assert set(outcomes) <= {"adopted", "was adopted", "CONFIGURATION"}
    assert len(titles(shop)) == 50
    assert bad(shop) == []


def test_files_of_versions_are_removed_whatever_the_clock_says(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions that were made before the clock was set back have times in the future."""
    ages = []

    class Cleaned:
        def cleanup_old_versions(self, **options: object) -> None:
            ages.append(options["older_than"])

    base = Base(shop, 1)
    monkeypatch.setattr(base, "_dataset", Cleaned())
    base.clean()
    assert ages[0].total_seconds() < -50 * 365 * 86_400  # type: ignore[attr-defined]


def test_a_reader_without_shared_memory_reads_a_copy(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before: Catalog = open_catalog(shop)
    monkeypatch.setattr(log_file, "guarded", lambda path: None)
    monkeypatch.setattr(log_file, "has_room", lambda folder, needed: folder == log_file.MEMORY)
    used: list[str] = []
    make = tempfile.TemporaryDirectory

    def made(*, prefix: str, dir: str) -> object:
        used.append(dir)
        return make(prefix=prefix, dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", made)
    assert open_catalog(shop).revision == before.revision
    assert set(used) == {log_file.MEMORY}


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (OSError(28, "No space left on device"), ErrorKind.OVERLOADED, "free some space"),
        (OSError(122, "Disk quota exceeded"), ErrorKind.OVERLOADED, "free some space"),
        (OSError("LanceError(IO): No space left on device (os error 28)"), ErrorKind.OVERLOADED, "free some space"),
        (RuntimeError("panicked: File too large (os error 27)"), ErrorKind.OVERLOADED, "ulimit -f"),
        (OSError(30, "Read-only file system"), ErrorKind.CONFIGURATION, "can be written"),
        (PermissionError(13, "Permission denied"), ErrorKind.CONFIGURATION, "right to write"),
        (OSError(24, "Too many open files"), ErrorKind.OVERLOADED, "ulimit -n"),
        (FileExistsError(17, "File exists", "/a/b"), ErrorKind.CONFIGURATION, "move what is at /a/b away"),
        (OSError(5, "Input/output error"), ErrorKind.INDEX_UNAVAILABLE, "check the disk"),
        (ValueError(), ErrorKind.INDEX_UNAVAILABLE, "check the disk"),
    ],
)
def test_a_refusal_has_the_remedy_of_its_cause(tmp_path: Path, error: Exception, kind: ErrorKind, remedy: str) -> None:
    found = refusal(error, tmp_path / "not" / "there")
    assert (found.kind, remedy in found.remedy) == (kind, True)
    assert found.reason
