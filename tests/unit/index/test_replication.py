"""Revisions of one writer on a replica: what is taken, and everything that leaves the replica as it is."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sightline_server.catalog.lock import WriterLock
from sightline_server.catalog.originals_file import KINDS, create_originals
from sightline_server.catalog.replica_mark import MARK
from sightline_server.catalog.store import CatalogStore
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import open_catalog, read_identity
from sightline_server.index.living import LivingCatalog
from sightline_server.index.replication import replica as replica_module
from sightline_server.index.replication import share as share_module
from sightline_server.index.replication.description import Description
from sightline_server.index.replication.publisher import Publisher
from sightline_server.index.replication.reasons import NotFollowedError, Reason
from sightline_server.index.replication.replica import REJECTED_S, Replica
from sightline_server.index.replication.share import LOCK, Share, fetch
from tests.support.catalogs import row, unit_vectors, write_catalog
from tests.support.generations import OTHER, prepare
from tests.support.replicas import Site

BAD_VALUES: tuple[Any, ...] = (None, "../x", {}, ["x"])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A catalog with a log and its replica at the first revision."""
    site = Site(tmp_path)
    site.build()
    site.change("new")
    site.publish()
    site.follow()
    return site


def published(site: Site) -> Description:
    return Description.parse((site.share / "CURRENT").read_bytes())


def test_built_catalog_is_followed_and_built_again(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.build()
    done = site.publish()
    assert done is not None
    assert done.name == read_identity(site.shop)[0]
    assert site.follow() == done.name == site.revision
    assert (site.publish(), site.follow()) == (None, None), "there is nothing new"
    site.build(7, replace=True)
    site.publish()
    site.follow()
    assert site.ids() == {f"p{n}" for n in range(7)}
    assert read_identity(site.copy) == read_identity(site.shop)


def test_each_revision_of_a_written_catalog_is_followed(site: Site) -> None:
    first = site.revision
    assert first == read_identity(site.shop)[0]
    second = site.change("second", 91)
    done = site.publish()
    assert done is not None
    assert site.follow() == second == site.revision
    assert site.ids() == {*(f"p{n}" for n in range(5)), "new", "second"}
    old = {file.path: file for file in published(site).files if "/data/" in file.path}
    assert done.files < len(old) + 1, "files of rows that are published already are not copied again"
    with LivingCatalog(site.shop) as living:
        living.store.rollback(int(first.partition("-")[0]))
    site.publish()
    site.follow()
    assert site.ids() == {*(f"p{n}" for n in range(5)), "new"}
    assert site.revision.startswith("4-")


def test_files_that_the_replica_has_are_linked(site: Site) -> None:
    before = {path.name: path.stat().st_ino for path in (site.copy / "base.lance" / "data").iterdir()}
    site.change("second", 91)
    site.publish()
    site.follow()
    after = {path.name: path.stat().st_ino for path in (site.copy / "base.lance" / "data").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1


def test_operations_without_a_revision_are_left_out(site: Site) -> None:
    with LivingCatalog(site.shop) as living:
        living.upsert([row("pending", unit_vectors(1, 92))])
    assert read_identity(site.shop)[0].startswith("2+1-")
    assert site.publish() is None
    assert "pending" not in site.ids()


def test_compacted_catalog_is_followed_under_the_same_revision(site: Site) -> None:
    revision = site.revision
    with LivingCatalog(site.shop) as living:
        living.compact(1)
    assert site.publish() is not None
    assert site.follow() == revision
    assert len(site.ids()) == 6


def test_another_generation_is_followed(site: Site) -> None:
    with LivingCatalog(site.shop) as living:
        prepared = prepare(site.shop, living)
        living.store.rollback(prepared.number)
        name = living.store.current_revision.name
    site.publish()
    assert site.follow() == name == site.revision
    assert open_catalog(site.copy).facts.embedder.name == OTHER.name
    assert site.publish() is None


def test_chosen_index_is_published_with_the_catalog(site: Site) -> None:
    (site.shop / "index").mkdir()
    (site.shop / "index" / "0123456789abcdef.json").write_text("{}")
    assert site.publish() is not None
    site.follow()
    assert (site.copy / "index" / "0123456789abcdef.json").read_text() == "{}"


def test_adapted_catalog_is_not_published(site: Site) -> None:
    before = published(site)
    with CatalogStore(site.shop, actor="test") as store:
        store.adapt(b"an adapter")
    with pytest.raises(SightlineError, match="has an adapter") as refused:
        site.publish()
    assert refused.value.kind is ErrorKind.CONFIGURATION
    assert published(site) == before


def test_original_images_are_not_published(site: Site) -> None:
    for kind in KINDS:
        create_originals(site.shop, kind)
    site.change("second", 91)
    site.publish()
    site.follow()
    assert not [path for path in site.copy.iterdir() if path.name in {kind.file for kind in KINDS}]
    assert not [path for path in site.objects() if path.read_bytes().startswith(b"SQLite")]


def test_missing_file_is_waited_for(site: Site) -> None:
    second = site.change("second", 91)
    before = set(site.objects())
    site.publish()
    [new, *_] = sorted(set(site.objects()) - before)
    new.rename(site.folder / "late")
    assert site.refused().reason is Reason.INCOMPLETE
    (site.folder / "late").rename(new)
    assert site.follow() == second


def test_short_file_is_waited_for(site: Site) -> None:
    second = site.change("second", 91)
    before = set(site.objects())
    site.publish()
    new = max(set(site.objects()) - before, key=lambda path: path.stat().st_size)
    whole = new.read_bytes()
    new.write_bytes(whole[:-10])
    assert site.refused().reason is Reason.INCOMPLETE
    new.write_bytes(whole)
    assert site.follow() == second


def test_changed_file_is_refused_until_a_later_attempt(site: Site) -> None:
    clock = [0.0]
    site.replica = Replica(site.share, site.copy, now=lambda: clock[0])
    second = site.change("second", 91)
    before = set(site.objects())
    site.publish()
    new = max(set(site.objects()) - before, key=lambda path: path.stat().st_size)
    whole = new.read_bytes()
    new.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert site.refused().reason is Reason.DAMAGED
    new.write_bytes(whole)
    assert site.refused().reason is Reason.DAMAGED, "it is not fetched again every second"
    clock[0] += REJECTED_S
    assert site.follow() == second


def test_file_that_has_grown_does_not_fill_the_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share_module, "PART", 1000)
    before = set(site.objects())
    site.change("second", 91)
    site.publish()
    new = max(set(site.objects()) - before, key=lambda path: path.stat().st_size)
    size = new.stat().st_size
    description = published(site)
    file = next(each for each in description.files if each.sha256 == new.name)
    with new.open("ab") as grown:
        grown.truncate(size + 1_000_000)
    target = site.folder / "fetched"
    with pytest.raises(NotFollowedError) as caught:
        fetch(Share(site.share), file, target)
    assert caught.value.reason is Reason.DAMAGED
    assert target.stat().st_size <= size + 1000


@pytest.mark.parametrize("away", [False, True])
def test_leftover_of_a_killed_follower_is_removed_without_a_new_revision(site: Site, away: bool) -> None:
    leftover = site.copy.with_name("copy.partial-123")
    leftover.mkdir()
    (leftover / "rows").write_bytes(b"old")
    if away:
        site.share.rename(site.folder / "elsewhere")
        with pytest.raises(NotFollowedError):
            Replica(site.share, site.copy).step()
    else:
        assert Replica(site.share, site.copy).step() is None
    assert not leftover.exists()


def test_content_with_another_digest_than_published_is_refused(site: Site) -> None:
    site.change("second", 91)
    site.publish()
    data = (site.share / "CURRENT").read_bytes()
    digest = published(site).living.revision.digest  # type: ignore[union-attr]
    other = digest[:12] + "0" * 52
    _, _, body = data.partition(b"\n")
    body = body.replace(digest.encode(), other.encode())
    head = f"sightline-publication 1 {hashlib.sha256(body).hexdigest()}\n".encode()
    (site.share / "CURRENT").write_bytes(head + body)
    assert site.refused().reason is Reason.DAMAGED


def test_damaged_file_of_the_replica_is_fetched_again(site: Site) -> None:
    path = next((site.copy / "base.lance" / "data").iterdir())
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    second = site.change("second", 91)
    site.publish()
    assert site.follow() == second
    assert "second" in site.ids()


@pytest.mark.parametrize("keep", [0, 10, 100, -1])
def test_part_of_a_description_is_waited_for(site: Site, keep: int) -> None:
    site.change("second", 91)
    site.publish()
    current = site.share / "CURRENT"
    current.write_bytes(current.read_bytes()[:keep])
    assert site.refused().reason is Reason.INCOMPLETE
    assert site.change("third", 93)
    assert site.publish() is not None, "the publisher goes on from there"
    site.follow()
    assert "third" in site.ids()


def test_newer_format_is_refused_with_what_to_do(site: Site) -> None:
    body = b'{"anything": 1}'
    text = f"sightline-publication 2 {hashlib.sha256(body).hexdigest()}\n".encode() + body
    (site.share / "CURRENT").write_bytes(text)
    error = site.refused()
    assert error.reason is Reason.FORMAT
    assert "format 2" in error.message
    site.change("second", 91)
    with pytest.raises(NotFollowedError, match="format 2"):
        site.publish()


def test_mark_of_an_older_version_is_replaced(site: Site) -> None:
    (site.copy / MARK).write_text("format 0\n")
    assert site.follow() is not None
    assert site.follow() is None
    assert len(site.ids()) == 6


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (field, value)
        for field in ("files", "living", "published_at", "publication", "sequence")
        for value in BAD_VALUES
        if (field, value) != ("living", None)
    ],
)
def test_unexpected_fields_are_refused(site: Site, field: str, value: Any) -> None:
    fields = json.loads((site.share / "CURRENT").read_bytes().partition(b"\n")[2])
    body = json.dumps(fields | {field: value}).encode()
    head = f"sightline-publication 1 {hashlib.sha256(body).hexdigest()}\n".encode()
    with pytest.raises(NotFollowedError, match="unexpected fields"):
        Description.parse(head + body)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../b", "a//b", "", ".hidden", "a/.b", "a\n"])
def test_paths_outside_of_the_folder_are_refused(site: Site, path: str) -> None:
    fields = json.loads((site.share / "CURRENT").read_bytes().partition(b"\n")[2])
    fields["files"][0]["path"] = path
    body = json.dumps(fields).encode()
    head = f"sightline-publication 1 {hashlib.sha256(body).hexdigest()}\n".encode()
    with pytest.raises(NotFollowedError, match="unexpected fields"):
        Description.parse(head + body)


def test_source_that_is_away_is_waited_for(site: Site) -> None:
    second = site.change("second", 91)
    site.publish()
    site.share.rename(site.folder / "elsewhere")
    assert site.refused().reason is Reason.AWAY
    site.share.write_text("not a folder")
    assert site.refused().reason is Reason.AWAY
    site.share.unlink()
    (site.folder / "elsewhere").rename(site.share)
    assert site.follow() == second


def test_source_that_goes_away_in_the_middle_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.change("second", 91)
    site.publish()

    def read(share: Share, source: Any) -> Any:
        def part() -> bytes:
            raise share_module.away(share.path, OSError(116, "Stale file handle"))

        return part

    monkeypatch.setattr(share_module, "reader", read)
    error = site.refused()
    assert error.reason is Reason.AWAY
    assert "Stale file handle" in error.message


def test_earlier_revision_is_refused(site: Site) -> None:
    earlier = (site.share / "CURRENT").read_bytes()
    second = site.change("second", 91)
    site.publish()
    site.follow()
    (site.share / "CURRENT").write_bytes(earlier)
    error = site.refused()
    assert error.reason is Reason.OLDER
    assert second in error.message


def test_share_that_was_made_again_is_followed(site: Site) -> None:
    shutil.rmtree(site.share)
    site.share.mkdir()
    assert site.publish() is not None
    assert site.follow() is not None
    assert published(site).sequence == 1


def test_revision_that_cannot_be_served_is_refused(site: Site) -> None:
    def check(folder: Path) -> None:
        raise SightlineError(ErrorKind.CONFIGURATION, f"the catalog at {folder} was made with another embedder")

    site.change("second", 91)
    site.publish()
    site.replica = Replica(site.share, site.copy, check=check)
    error = site.refused()
    assert error.reason is Reason.EMBEDDER
    assert str(site.copy) in error.message
    assert "partial" not in error.message


@pytest.mark.parametrize("step", ["write", "sync", "log"])
def test_full_disk_of_a_replica_harms_nothing(site: Site, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    second = site.change("second", 91)
    site.publish()

    def full(*_: object, **__: object) -> None:
        if step == "log":
            raise SightlineError(ErrorKind.OVERLOADED, "cannot write log.sqlite: the disk is full")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        name = {"write": "fetch", "sync": "sync", "log": "create"}[step]
        patched.setattr(replica_module, name, full)
        error = site.refused()
    assert error.reason is Reason.DISK
    assert "full" in error.message or "free some space" in error.message
    assert site.follow() == second


def test_full_disk_of_a_share_leaves_what_is_published(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (site.share / "CURRENT").read_bytes()
    second = site.change("second", 91)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("sightline_server.index.replication.share.os.fsync", full)
        with pytest.raises(SightlineError, match="free some space") as caught:
            site.publish()
    assert caught.value.kind is ErrorKind.OVERLOADED
    assert (site.share / "CURRENT").read_bytes() == before
    assert not [path for path in site.objects() if "partial" in path.name]
    assert site.follow() is None
    assert site.publish() is not None
    assert site.follow() == second


def test_leftovers_and_files_of_old_revisions_are_removed(site: Site) -> None:
    for name in ("objects/.partial-0123", "CURRENT.partial-4567"):
        (site.share / name).write_text("left by a publisher that was killed")
    with LivingCatalog(site.shop) as living:
        living.compact(1)
    site.publish()
    files = {file.sha256 for file in published(site).files}
    assert {path.name for path in site.objects()} == files
    assert {path.name for path in site.share.iterdir()} == {"CURRENT", "objects", LOCK}


def test_catalog_has_one_publisher(site: Site) -> None:
    site.change("second", 91)
    lock = WriterLock(site.share, LOCK)
    lock.acquire()
    with pytest.raises(SightlineError, match="another process"):
        site.publish()
    lock.release()
    assert site.publish() is not None


def test_share_must_be_there(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.build()
    site.share.rmdir()
    with pytest.raises(SightlineError, match="is not a folder; make it, or mount it"):
        site.publish()


def test_nothing_published_yet_is_said(tmp_path: Path) -> None:
    site = Site(tmp_path)
    error = site.refused()
    assert error.reason is Reason.AWAY
    assert "nothing is published" in error.message
    assert not site.copy.exists()


def test_another_catalog_is_not_replaced(site: Site) -> None:
    (site.copy / MARK).unlink()
    site.change("second", 91)
    site.publish()
    with pytest.raises(SightlineError, match="is not a replica, and following") as caught:
        site.follow()
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert "second" not in site.ids()


def test_replica_refuses_every_writer(site: Site) -> None:
    with pytest.raises(SightlineError, match="is a replica"), LivingCatalog(site.copy):
        pytest.fail("it was opened")
    with pytest.raises(SightlineError, match="is a replica"):
        write_catalog(site.copy, [row("p", unit_vectors(1))], replace=True)
    with pytest.raises(SightlineError, match="is a replica"):
        Publisher(site.copy, site.folder).step()


def test_built_replica_refuses_every_writer(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.build()
    site.publish()
    site.follow()
    with pytest.raises(SightlineError, match="is a replica"), LivingCatalog(site.copy):
        pytest.fail("it was opened")


def test_replica_without_its_mark_takes_writes(site: Site) -> None:
    (site.copy / MARK).unlink()
    with LivingCatalog(site.copy) as living:
        living.upsert([row("own", unit_vectors(1, 95))])
        assert living.checkpoint().name.startswith("3-")
    assert "own" in site.ids()
