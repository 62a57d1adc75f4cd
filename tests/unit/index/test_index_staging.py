"""The folder in which catalogs are built: one builder per target, all or nothing, and nothing of others touched."""

import os
from pathlib import Path

import pytest

from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index import staging
from sightline_server.index.staging import Staging


def make(path: Path, text: str) -> None:
    (path / "_versions").mkdir(parents=True)
    (path / "content").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_path_that_is_not_utf_8_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(SightlineError, match="must be UTF-8"), Staging(tmp_path / "shop\udcff", replace=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_publishing_leaves_the_target_and_nothing_else(tmp_path: Path) -> None:
    with Staging(tmp_path / "deep" / "shop", replace=False) as stage:
        make(stage.path, "new")
        assert not stage.out.exists()
        stage.publish()
    assert names(tmp_path / "deep") == ["shop"]
    assert (tmp_path / "deep" / "shop" / "content").read_text() == "new"


def test_leaving_without_publishing_leaves_nothing(tmp_path: Path) -> None:
    with Staging(tmp_path / "shop", replace=False) as stage:
        make(stage.path, "new")
    assert names(tmp_path) == []


@pytest.mark.parametrize("kernel_swaps", [True, False])
def test_replacing_swaps_and_removes_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel_swaps: bool
) -> None:
    if not kernel_swaps:
        monkeypatch.setattr(staging, "RENAME_EXCHANGE", 1 << 30)
    make(tmp_path / "shop", "old")
    with Staging(tmp_path / "shop", replace=True) as stage:
        make(stage.path, "new")
        stage.publish()
    assert names(tmp_path) == ["shop"]
    assert (tmp_path / "shop" / "content").read_text() == "new"


def test_a_taken_target_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "shop", "old")
    with pytest.raises(SightlineError, match="--replace") as caught:
        Staging(tmp_path / "shop", replace=False).__enter__()
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert names(tmp_path) == ["shop"]


def test_a_folder_that_is_no_catalog_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    with pytest.raises(SightlineError, match="not a catalog and is not replaced"):
        Staging(tmp_path / "home", replace=True).__enter__()
    assert (tmp_path / "home" / "letter").read_text() == "dear"


def test_leftovers_of_dead_builds_go_and_those_of_other_targets_stay(tmp_path: Path) -> None:
    make(tmp_path / "shop.partial-1", "dead")
    make(tmp_path / "shop2.partial-1", "another's")
    with Staging(tmp_path / "shop", replace=False):
        assert names(tmp_path) == [".shop.lock", "shop2.partial-1"]


def test_a_second_builder_is_refused_while_the_first_works(tmp_path: Path) -> None:
    with Staging(tmp_path / "shop", replace=False) as stage:
        make(stage.path, "first")
        with pytest.raises(SightlineError, match=f"process {os.getpid()}"):
            Staging(tmp_path / "shop", replace=False).__enter__()
        with Staging(tmp_path / "other", replace=False):
            pass
        stage.publish()
    assert (tmp_path / "shop" / "content").read_text() == "first"


def test_a_lock_file_that_was_unlinked_meanwhile_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([False, True])
    checked = []

    def same_file(descriptor: int, path: Path) -> bool:
        checked.append(os.fstat(descriptor).st_ino)
        answer = next(answers)
        if not answer:
            path.unlink()
        return answer

    monkeypatch.setattr(staging, "same_file", same_file)
    descriptor = staging.lock(tmp_path / "shop")
    assert len(checked) == 2
    assert os.fstat(descriptor).st_ino == staging.lock_path(tmp_path / "shop").stat().st_ino
    os.close(descriptor)
