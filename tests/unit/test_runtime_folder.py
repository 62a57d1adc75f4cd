"""The runtime folder: private, with a plain path, and removed with its server but never while one uses it."""

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline_server import owned_names, runtime_folder
from sightline_server.embedded.reaper import Left, apply
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.process_identity import identity_of
from sightline_server.runtime_folder import RuntimeFolder


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only temporary directory; its path is short, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="rt", dir="/tmp") as name:
        monkeypatch.setattr(runtime_folder, "TEMPORARY", (name,))
        monkeypatch.delenv("TMPDIR", raising=False)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        yield Path(name)


def dead_prefix() -> str:
    """The prefix of a process that has ended."""
    ended = subprocess.Popen(["true"])
    prefix = owned_names.prefix_of(identity_of(ended.pid))
    ended.wait()
    return prefix


def orphan(place: Path, *, prefix: str | None = None) -> Path:
    """A folder as a killed server leaves it."""
    path = place / f"{prefix or dead_prefix()}run-0a"
    path.mkdir(mode=0o700)
    (path / "engine").symlink_to("/nowhere")
    return path


def test_folder_is_private_and_below_the_temporary_directory(place: Path) -> None:
    folder = RuntimeFolder()
    assert folder.path.parent == place
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.close()
    folder.close()
    assert list(place.iterdir()) == []


def test_link_leads_to_the_target_and_can_be_made_again(place: Path, tmp_path: Path) -> None:
    folder = RuntimeFolder()
    targets = [tmp_path / "my läden [1]", tmp_path / "other"]
    for target in targets:
        target.mkdir()
        (target / "file").write_text(target.name)
        assert (folder.link("engine", target) / "file").read_text() == target.name
    folder.close()
    assert [(target / "file").exists() for target in targets] == [True, True], "links go, what they lead to stays"


def test_runtime_directory_of_the_user_is_preferred(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = place / "user"
    own.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(own))
    folder = RuntimeFolder()
    folder.close()
    assert folder.path.parent == own


@pytest.mark.parametrize(
    "name", ["my folder", "läden", "a:b", "it's", "x" * 70, "[1]", "$x", "100%", "a#b", "new\nline"]
)
def test_temporary_directory_that_triton_cannot_read_is_passed_over(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(place / name))
    folder = RuntimeFolder()
    folder.close()
    assert folder.path.parent == place


def test_runtime_directory_that_others_can_enter_or_that_is_a_link_is_passed_over(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "open").mkdir()
    (place / "open").chmod(0o755)
    (place / "own").mkdir(mode=0o700)
    (place / "link").symlink_to(place / "own")
    for name in ("open", "link", "absent"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(place / name))
        folder = RuntimeFolder()
        folder.close()
        assert folder.path.parent == place


def test_directory_where_others_can_rename_is_the_last_choice(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "open").mkdir()
    (place / "open").chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(place / "open"))
    folder = RuntimeFolder()
    folder.close()
    assert folder.path.parent == place
    monkeypatch.setattr(runtime_folder, "TEMPORARY", ())
    folder = RuntimeFolder()
    folder.close()
    assert folder.path.parent == place / "open"


def test_no_place_at_all_is_an_error_that_says_what_to_set(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_folder, "TEMPORARY", ("/läden", str(place / "absent")))
    with pytest.raises(SightlineError, match="TMPDIR") as caught:
        RuntimeFolder()
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert "/läden has characters" in caught.value.message
    assert "No such file" in caught.value.message


def test_folders_of_dead_servers_are_removed_and_no_others(place: Path) -> None:
    used = RuntimeFolder()
    gone = orphan(place)
    (place / "sightline-metrics-1-x").mkdir(mode=0o700)
    runtime_folder.remove_orphans()
    assert not gone.exists()
    assert used.present
    assert (place / "sightline-metrics-1-x").exists()
    used.close()


def test_folder_that_a_server_in_another_container_locks_is_kept(place: Path) -> None:
    used = RuntimeFolder()
    unseen = used.path.rename(place / f"{dead_prefix()}run-0b")
    runtime_folder.remove_orphans()
    assert unseen.exists()
    used.close()
    runtime_folder.remove_orphans()
    assert not unseen.exists()


def test_link_named_as_a_runtime_folder_is_not_followed(place: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "link").symlink_to("/nowhere")
    link = place / f"{dead_prefix()}run-0c"
    link.symlink_to(tmp_path / "victim")
    runtime_folder.remove_orphans()
    runtime_folder.remove(link)
    assert (tmp_path / "victim" / "link").is_symlink()


def test_folder_with_a_file_in_it_stays(place: Path) -> None:
    path = orphan(place)
    (path / "file").touch()
    runtime_folder.remove(path)
    assert [each.name for each in path.iterdir()] == ["file"]


def test_folder_that_was_tidied_away_is_noticed(place: Path) -> None:
    folder = RuntimeFolder()
    folder.path.rmdir()
    assert not folder.present
    folder.close()


def test_reaper_is_told_of_each_folder() -> None:
    left = Left()
    for line in ("folder /tmp/a", "watch 1", "folder /tmp/b", "folder /tmp/a", "forget 1"):
        apply(line, left)
    assert (left.folders, left.engines) == ({Path("/tmp/a"), Path("/tmp/b")}, {})


def test_own_folder_is_listed_by_its_name(place: Path) -> None:
    folder = RuntimeFolder()
    assert list(runtime_folder.listed()) == [folder.path]
    assert folder.path.name.startswith(owned_names.own_prefix())
    assert len(os.fsencode(f"{folder.path}{runtime_folder.LONGEST_NAME}")) <= runtime_folder.MOST_BYTES
    folder.close()
