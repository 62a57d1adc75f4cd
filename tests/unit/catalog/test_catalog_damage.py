"""Catalogs whose files were damaged, lost or not finished: a clear error, or everything that was acknowledged."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lance
import pytest

from sightline_server.catalog import durable, log_file, manifests
from sightline_server.catalog.base import Base
from sightline_server.catalog.log import Log
from sightline_server.catalog.log_file import LOG
from sightline_server.catalog.store import CatalogStore
from sightline_server.catalog.verify import verify
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index import adopting
from sightline_server.index.catalog import open_catalog, read_facts, read_identity
from sightline_server.index.living import LivingCatalog, ProductUpdate
from tests.support.catalogs import row, unit_vectors, write_catalog
from tests.support.users import let_all_read, open_folder, sightline_as_other

Damage = Callable[[Path], object]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A catalog of format 2 with 6 products, two revisions, and one operation after them."""
    shop = tmp_path / "shop"
    write_catalog(shop, [row(f"p{n}", unit_vectors(1, n), title=f"title {n}") for n in range(5)])
    with LivingCatalog(shop) as living:
        living.upsert([row("new", unit_vectors(1, 9))])
        living.checkpoint()
        living.delete(["p0"])
    return shop


WHOLE = ["new", "p1", "p2", "p3", "p4"]


def ids(shop: Path) -> list[str]:
    found: list[str] = open_catalog(shop).display["id"].to_pylist()
    return sorted(found)


def newest(shop: Path) -> Path:
    """The path of a manifest after the newest one."""
    folder = shop / "base.lance" / "_versions"
    return folder / f"{int(min(folder.glob('*.manifest')).stem) - 1}.manifest"


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(4096)], ids=["empty", "garbage", "zeros"])
def test_a_damaged_newest_manifest_is_moved_aside(shop: Path, content: bytes) -> None:
    newest(shop).write_bytes(content)
    assert ids(shop) == WHOLE
    assert all(finding.good for finding in verify(shop))
    with LivingCatalog(shop) as living:
        living.upsert([row("more", unit_vectors(1, 10))])
        living.checkpoint()
    assert sorted(ids(shop)) == sorted([*WHOLE, "more"])
    assert len(list((shop / manifests.QUARANTINE).iterdir())) == 1


def test_an_unfinished_checkpoint_is_not_read_and_not_built_upon(shop: Path) -> None:
    with CatalogStore(shop) as store:
        version = store.revisions[0].base_version
    assert version is not None
    base = Base(shop, version)
    base.replace(["p1", "p2"], base.rows(["p3"]).slice(0, 0))
    assert ids(shop) == WHOLE
    with LivingCatalog(shop) as living:
        living.checkpoint()
    assert ids(shop) == WHOLE


def test_quarantine_holds_a_bounded_number_of_files(shop: Path) -> None:
    for _ in range(manifests.MAX_QUARANTINED + 3):
        newest(shop).write_bytes(b"")
        with CatalogStore(shop):
            pass
    assert len(list((shop / manifests.QUARANTINE).iterdir())) == manifests.MAX_QUARANTINED


def remove(name: str) -> Damage:
    return lambda shop: (shop / name).unlink()


def overwrite(name: str, content: bytes) -> Damage:
    return lambda shop: (shop / name).write_bytes(content)


def flip(name: str, needle: bytes) -> Damage:
    """Changes one byte of the first occurrence of `needle`."""

    def damage(shop: Path) -> None:
        path = shop / name
        content = bytearray(path.read_bytes())
        content[content.index(needle)] ^= 1
        path.write_bytes(content)

    return damage


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (remove(LOG), "log.sqlite is missing"),
        (overwrite(LOG, b""), "log.sqlite is damaged"),
        (overwrite(LOG, b"garbage" * 100), "log.sqlite is damaged"),
        (lambda shop: os.truncate(shop / LOG, 4096), "log.sqlite is damaged"),
    ],
    ids=["missing", "empty", "garbage", "cut"],
)
def test_a_lost_or_damaged_log_is_named_and_nothing_is_guessed(shop: Path, damage: Damage, reason: str) -> None:
    damage(shop)
    for use in (open_catalog, read_facts, read_identity, lambda path: list(verify(path)), opened_for_writing):
        with pytest.raises(SightlineError, match=reason) as caught:
            use(shop)
        assert caught.value.kind is ErrorKind.CONFIGURATION
    write_catalog(shop, [row("x", unit_vectors(1))], replace=True)
    assert ids(shop) == ["x"]


def opened_for_writing(shop: Path) -> None:
    with LivingCatalog(shop):
        raise AssertionError("a damaged catalog was opened for writing")


def test_a_changed_operation_of_the_log_is_refused(shop: Path) -> None:
    with LivingCatalog(shop) as living:
        living.upsert([row("more", unit_vectors(1, 10), title="NEEDLE")])
    flip(LOG, b"NEEDLE")(shop)
    with pytest.raises(SightlineError, match="operation 3 is not what was written"):
        open_catalog(shop)


def test_a_changed_row_of_the_base_is_refused_and_found_by_verify(shop: Path) -> None:
    damaged = [path for path in (shop / "base.lance" / "data").iterdir() if b"title 3" in path.read_bytes()]
    content = bytearray(damaged[0].read_bytes())
    content[content.index(b"title 3")] ^= 1
    damaged[0].write_bytes(content)
    with pytest.raises(SightlineError, match="is damaged"):
        open_catalog(shop)
    assert [finding.good for finding in verify(shop)].count(False) == 2


@pytest.mark.parametrize("folder", ["data", "_deletions"])
def test_a_missing_file_of_the_base_fails_each_change_with_a_reason(shop: Path, folder: str) -> None:
    with LivingCatalog(shop) as living:
        living.upsert([row("p2", unit_vectors(1, 12))])
        living.checkpoint()
    for path in (shop / "base.lance" / folder).iterdir():
        path.unlink()
    changes: tuple[Callable[[LivingCatalog], object], ...] = (
        lambda living: living.delete(["p3"]),
        lambda living: living.update([ProductUpdate("p3", {"title": "new"})]),
        lambda living: (living.upsert([row("p3", unit_vectors(1, 13))]), living.checkpoint()),
        lambda living: living.store.rollback(1),
        lambda living: living.store.compact(),
    )
    for change in changes:
        with pytest.raises(SightlineError, match="missing or damaged") as caught, LivingCatalog(shop) as living:
            change(living)
        assert caught.value.kind is ErrorKind.CONFIGURATION


def test_missing_files_of_the_base_are_named(shop: Path) -> None:
    for path in (shop / "base.lance" / "data").iterdir():
        path.unlink()
    with pytest.raises(SightlineError, match="missing or damaged"):
        open_catalog(shop)
    for path in (shop / "base.lance" / "_versions").iterdir():
        path.unlink()
    for use in (open_catalog, opened_for_writing):
        with pytest.raises(SightlineError, match="missing or damaged"):
            use(shop)
    assert not all(finding.good for finding in verify(shop))
    shutil.rmtree(shop / "base.lance")
    for use in (open_catalog, opened_for_writing):
        with pytest.raises(SightlineError, match="missing or damaged"):
            use(shop)
    assert not all(finding.good for finding in verify(shop))


def full_disk(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Base, "replace"),
        (Base, "set_tags"),
        (durable.NewFiles, "sync"),
        (Log, "record"),
        (Base, "fragments"),
    ],
)
def test_a_checkpoint_that_fails_loses_nothing_and_is_repeated(
    shop: Path, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LivingCatalog(shop) as living:
        living.upsert([row("more", unit_vectors(1, 10))])
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, full_disk)
            for _ in range(2):
                with pytest.raises(SightlineError, match="No space left on device"):
                    living.checkpoint()
        assert ids(shop) == sorted([*WHOLE, "more"])
        living.upsert([row("again", unit_vectors(1, 11))])
        living.checkpoint()
    assert ids(shop) == sorted([*WHOLE, "more", "again"])
    assert all(finding.good for finding in verify(shop, all_revisions=True))


@pytest.mark.parametrize(
    ("owner", "name"),
    [(lance.LanceDataset, "update_schema_metadata"), (Base, "set_tags"), (adopting, "link_file"), (os, "pwrite")],
)
def test_a_full_disk_at_the_first_change_is_not_taken_for_damage(
    tmp_path: Path, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = tmp_path / "shop"
    write_catalog(shop, [row(f"p{n}", unit_vectors(1, n)) for n in range(3)])
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full_disk)
        if name == "pwrite":
            assert adopting.adopt(shop), "the process id in a lock file is only for a message"
        else:
            with pytest.raises(SightlineError, match=r"No space left on device.*as it was") as caught:
                adopting.adopt(shop)
            assert caught.value.kind is ErrorKind.OVERLOADED
            assert [path.name for path in tmp_path.iterdir()] == ["shop"]
    with LivingCatalog(shop) as living:
        living.delete(["p0"])
    assert ids(shop) == ["p1", "p2"]


@pytest.mark.parametrize(("owner", "name"), [(Base, "restore"), (Log, "record"), (durable.NewFiles, "sync")])
def test_a_rollback_that_fails_changes_nothing(
    shop: Path, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LivingCatalog(shop) as living:
        living.checkpoint()
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, full_disk)
            with pytest.raises(SightlineError, match="No space left"):
                living.store.rollback(1)
        assert ids(shop) == WHOLE
        living.store.rollback(1)
    assert ids(shop) == ["p0", "p1", "p2", "p3", "p4"]


@pytest.mark.parametrize(("owner", "name"), [(Base, "compact"), (Log, "move"), (durable.NewFiles, "sync")])
def test_a_compaction_that_fails_changes_nothing(
    shop: Path, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LivingCatalog(shop) as living:
        living.checkpoint()
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, full_disk)
            with pytest.raises(SightlineError, match="No space left"):
                living.store.compact(1)
        assert ids(shop) == WHOLE
        living.store.compact(1)
        living.upsert([row("more", unit_vectors(1, 10))])
        living.checkpoint()
    assert ids(shop) == sorted([*WHOLE, "more"])
    assert all(finding.good for finding in verify(shop, all_revisions=True))


FILLING = """
import resource, sys
from pathlib import Path
from sightline_server.errors import SightlineError
from sightline_server.index.living import LivingCatalog, ProductUpdate
from tests.support.catalogs import row, unit_vectors

shop, limit = Path(sys.argv[1]), int(sys.argv[2])
with LivingCatalog(shop) as living:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for number in range(400):
        try:
            living.upsert([row(f"n{number}", unit_vectors(1, number), title="x" * 3000)])
            print(f"n{number}", flush=True)
            if number % 40 == 39:
                living.checkpoint()
        except SightlineError as error:
            print("refused:", error.message, file=sys.stderr)
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    living.upsert([row("last", unit_vectors(1, 1))])
    living.checkpoint()
"""


@pytest.mark.parametrize("kib", [60, 130, 300])
def test_a_disk_that_fills_up_loses_no_acknowledged_write(shop: Path, kib: int) -> None:
    command = [sys.executable, "-c", FILLING, str(shop), str(kib * 1024)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 0, result.stderr
    assert "refused:" in result.stderr
    acknowledged = result.stdout.split()
    assert set(ids(shop)) >= {*acknowledged, *WHOLE, "last"}
    assert all(finding.good for finding in verify(shop, all_revisions=True))


@pytest.fixture
def public(shop: Path) -> Iterator[Path]:
    """The catalog in a folder that every user may read."""
    with open_folder() as folder:
        yield let_all_read(shutil.copytree(shop, folder / "shop"))


def test_a_user_who_may_only_read_reads_the_catalog_also_while_it_is_written(public: Path) -> None:
    shop = public

    def shown() -> str:
        checked = sightline_as_other("catalog", "verify", "--catalog", str(shop))
        assert checked.returncode == 0, checked.stderr
        return checked.stdout

    assert "5 products: intact" in shown()
    with LivingCatalog(shop) as living:
        living.upsert([row("more", unit_vectors(1, 10))])
        assert "6 products: intact" in shown()
    refused = sightline_as_other("catalog", "delete", "p1", "--catalog", str(shop))
    assert refused.returncode != 0
    assert "Permission denied" in refused.stderr
    assert "p1" in ids(shop)


KILLED = """
import os, signal, sys
from pathlib import Path
from sightline_server.index.living import LivingCatalog, ProductUpdate
living = LivingCatalog(Path(sys.argv[1]))
living.__enter__()
living.delete(["p1"])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("lost", ["", "log.sqlite-shm"], ids=["as it was", "after a restart of the machine"])
def test_a_user_who_may_only_read_reads_what_a_killed_writer_left(public: Path, lost: str) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(public)], timeout=60, check=False)
    assert (public / "log.sqlite-wal").stat().st_size
    if lost:
        (public / lost).unlink()
    read = sightline_as_other("catalog", "verify", "--catalog", str(public))
    assert read.returncode == 0, read.stderr
    assert "4 products: intact" in read.stdout


def test_a_log_that_changed_while_it_was_copied_is_copied_again(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = []
    copyfile = shutil.copyfile

    def changing(source: Path, target: Path) -> None:
        copyfile(source, target)
        copies.append(source)
        if len(copies) < 3:
            os.utime(source, ns=(len(copies), len(copies)))

    monkeypatch.setattr(log_file, "guarded", lambda path: None)
    monkeypatch.setattr(shutil, "copyfile", changing)
    assert read_identity(shop)[0].startswith("2+1-")
    assert len(copies) == 3
    monkeypatch.setattr(log_file, "READ_ATTEMPTS", 2)
    copies.clear()
    with pytest.raises(SightlineError, match="changes again and again"):
        read_identity(shop)
