"""The original files of a catalog's images: stored once, durable with their link, removed when nothing needs them."""

import errno
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline_server.catalog.originals import Originals, damaged_files, originals_size
from sightline_server.catalog.originals_file import ORIGINALS, create_originals, discard_originals, keeps_originals
from sightline_server.errors import ErrorKind, SightlineError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Originals]:
    create_originals(tmp_path)
    opened = Originals(tmp_path)
    yield opened
    opened.close()


def files(folder: Path) -> int:
    size = originals_size(folder)
    assert size is not None
    return size.files


def test_a_file_of_two_images_is_stored_once(store: Originals, tmp_path: Path) -> None:
    name = store.add(b"first")
    assert store.add(b"first") == name
    store.link([(b"a", name), (b"b", name), (b"c", store.add(b"second"))])
    assert [store.content(image) for image in (b"a", b"b", b"c", b"d")] == [b"first", b"first", b"second", None]
    size = originals_size(tmp_path)
    assert size is not None
    assert (size.files, size.content_bytes) == (2, 11)
    assert size.disk_bytes >= sum(path.stat().st_size for path in tmp_path.glob(f"{ORIGINALS}*")) > 0


def test_an_image_that_is_linked_again_has_the_newer_file(store: Originals) -> None:
    store.link([(b"a", store.add(b"old"))])
    store.link([(b"a", store.add(b"new"))])
    assert store.content(b"a") == b"new"


def test_a_name_without_a_file_is_not_linked(store: Originals) -> None:
    store.link([(b"a", "00" * 32)])
    assert store.content(b"a") is None


def test_a_sweep_removes_what_no_image_needs_and_gives_the_space_back(store: Originals, tmp_path: Path) -> None:
    store.link([(bytes([n]), store.add(bytes([n]) * 100_000)) for n in range(20)])
    before = originals_size(tmp_path)
    assert store.sweep({bytes([3])}, idle=True) == 19
    after = originals_size(tmp_path)
    assert before is not None and after is not None
    assert after.files == 1
    assert after.disk_bytes < before.disk_bytes / 5
    assert store.content(bytes([3])) == bytes([3]) * 100_000


def test_a_file_that_was_just_added_outlives_one_sweep(store: Originals, tmp_path: Path) -> None:
    name = store.add(b"its row is on its way")
    assert store.sweep(set()) == 0
    store.link([(b"a", name)])
    assert store.content(b"a") is not None
    store.add(b"its row was never written")
    assert [store.sweep({b"a"}) for _ in range(2)] == [0, 1]
    assert files(tmp_path) == 1


def test_a_file_that_is_added_again_counts_as_new(store: Originals) -> None:
    store.add(b"file")
    store.sweep(set())
    store.add(b"file")
    assert [store.sweep(set()) for _ in range(2)] == [0, 1]


def test_linked_files_survive_a_process_that_is_killed(tmp_path: Path) -> None:
    create_originals(tmp_path)
    program = (
        "import os, sys; from pathlib import Path; from sightline_server.catalog.originals import Originals;"
        "store = Originals(Path(sys.argv[1])); store.link([(b'a', store.add(b'x' * 50_000))]); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == -9
    store = Originals(tmp_path)
    assert store.content(b"a") == b"x" * 50_000
    store.close()


def test_a_full_disk_names_the_remedy_and_changes_nothing(store: Originals, tmp_path: Path) -> None:
    store.link([(b"a", store.add(b"there"))])
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(SightlineError, match="free some space") as refused:
        store.add(b"x" * 100_000)
    assert refused.value.kind is ErrorKind.OVERLOADED
    assert files(tmp_path) == 1
    store._connection.execute("PRAGMA max_page_count = 100000")
    store.link([(b"b", store.add(b"x" * 100_000))])
    assert (store.content(b"a"), store.content(b"b")) == (b"there", b"x" * 100_000)


def test_a_changed_file_is_reported_and_not_given_out(store: Originals, tmp_path: Path) -> None:
    name = store.add(b"as it was stored")
    store.link([(b"a", name), (b"b", store.add(b"whole"))])
    store._connection.execute("UPDATE contents SET content = x'00' WHERE number = 1")
    assert store.content(b"a") is None
    assert store.content(b"b") == b"whole"
    assert list(damaged_files(tmp_path)) == [name]


@pytest.mark.parametrize("content", [b"", b"not a database" * 100])
def test_another_file_in_its_place_is_refused_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ORIGINALS).write_bytes(content)
    for use in (Originals, originals_size, lambda folder: list(damaged_files(folder))):
        with pytest.raises(SightlineError, match="restore it from a backup, or remove it") as refused:
            use(tmp_path)
        assert refused.value.kind is ErrorKind.CONFIGURATION


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    create_originals(tmp_path)
    connection = sqlite3.connect(tmp_path / ORIGINALS)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(SightlineError, match="format 2, this version of Sightline reads 1"):
        Originals(tmp_path)


def test_a_sealed_file_is_alone_and_can_be_read_without_writing(store: Originals, tmp_path: Path) -> None:
    store.link([(b"a", store.add(b"file"))])
    store.seal()
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == [ORIGINALS]
    changed = tmp_path.stat().st_ctime_ns
    assert files(tmp_path) == 1
    assert tmp_path.stat().st_ctime_ns == changed


def test_discarded_originals_leave_no_file(tmp_path: Path) -> None:
    create_originals(tmp_path)
    store = Originals(tmp_path)
    store.link([(b"a", store.add(b"file"))])
    store.close()
    shutil.copyfile(tmp_path / ORIGINALS, tmp_path / f"{ORIGINALS}-wal")
    discard_originals(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not keeps_originals(tmp_path)
    assert originals_size(tmp_path) is None


def test_a_file_that_cannot_be_made_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", full)
        with pytest.raises(SightlineError, match="free some space"):
            create_originals(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / f"{ORIGINALS}.new").write_bytes(b"left by a crash")
    create_originals(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [ORIGINALS]
