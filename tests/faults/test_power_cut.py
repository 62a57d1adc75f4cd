"""A short run of `load_tests.power_cut`, its mutations, and the disk that it replays."""

import shutil
from pathlib import Path

import pytest

from load_tests.catalog_crash.rows import SPEC
from load_tests.power_cut.__main__ import cut
from load_tests.power_cut.disk import Disk, Guess, UnknownCallError
from load_tests.power_cut.folder import LATER, cut_folder, fault
from load_tests.power_cut.folder_writer import CREATE, DELETE, WRITE, Contents, contents, plan
from load_tests.power_cut.trace import Call, calls_of
from load_tests.power_cut.writer import EMBEDDERS, embedder_after
from sightline_server.errors import SightlineError
from sightline_server.index.catalogs_folder import CatalogsFolder
from tests.support import strace


def test_a_power_cut_loses_no_acknowledged_write(tmp_path: Path) -> None:
    strace.program()
    result = cut(tmp_path, groups=36, cuts=12, seed=1)
    assert (result.acknowledged, result.cuts, result.rebuilt, result.lost) == (36, 14, 42, 0), (
        "with a cut in each of two changes of the embedder"
    )


@pytest.mark.parametrize("mutation", ["synchronous-off", "no-folder-sync"])
def test_a_store_that_leaves_out_a_step_is_found(tmp_path: Path, mutation: str) -> None:
    strace.program()
    assert cut(tmp_path, groups=14, cuts=4, seed=1, mutation=mutation).lost > 0


def test_a_power_cut_within_a_step_leaves_each_catalog_of_a_folder_whole(tmp_path: Path) -> None:
    strace.program()
    result = cut_folder(tmp_path, steps=8, cuts=8, seed=20)
    assert (result.acknowledged, result.cuts, result.rebuilt, result.lost) == (8, 8, 24, 0)


def test_a_half_catalog_and_a_lost_one_are_faults_of_a_folder(tmp_path: Path) -> None:
    with CatalogsFolder(tmp_path) as folder:
        for name in ("a", "b"):
            folder.create(name, SPEC)
        (tmp_path / ".creating-c").mkdir()
    whole: Contents = {"a": {}, "b": {}}
    assert "and may have" in fault(tmp_path, [{"a": {}}, {}])
    next((tmp_path / "a" / "base.lance" / "_versions").iterdir()).unlink()
    with pytest.raises(SightlineError, match="missing or damaged"):
        fault(tmp_path, [whole, {"b": {}}])
    shutil.rmtree(tmp_path / "a" / "base.lance")
    (tmp_path / "a" / "log.sqlite").unlink()
    assert "left behind: ['a']" in fault(tmp_path, [whole, {"b": {}}])
    shutil.rmtree(tmp_path / "a")
    assert fault(tmp_path, [whole, {"b": {}}]) == ""
    assert fault(tmp_path, [{"b": {LATER: 1}}]) == ""


def test_the_embedder_changes_after_its_group() -> None:
    first, other = EMBEDDERS
    assert [embedder_after(number) for number in (0, 1, 15, 16, 30, 31)] == [first, first, first, other, other, first]


def test_the_steps_of_a_folder_create_write_and_delete() -> None:
    assert [step.kind for step in plan(2, seed=15)] == [CREATE, DELETE]
    kinds = [step.kind for step in plan(8, seed=20)]
    assert {kind: kinds.count(kind) for kind in kinds} == {CREATE: 4, WRITE: 2, DELETE: 2}
    assert len(contents(8, seed=20)) == 9


def sure(disk: Disk, folder: Path, guess: Guess = Guess.NOTHING) -> dict[str, bytes]:
    """The files that `disk` holds."""
    disk.write_to(folder, guess, 0)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def call(name: str, *arguments: str, result: int = 0, target: str = "") -> Call:
    encoded = tuple(argument.encode() for argument in arguments)
    return Call("1", name, encoded, result, target.encode())


def test_bytes_are_sure_after_fsync_and_names_after_that_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    disk = Disk(root)
    file, folder = f"3<{root}/a>", f"4<{root}>"
    disk.apply(call("openat", f"5<{root}>", f"{root}/a", "O_RDWR|O_CREAT", result=3, target=f"<{root}/a>"))
    disk.apply(call("write", file, "one", "3", result=3))
    assert sure(disk, tmp_path / "1") == {}
    assert sure(disk, tmp_path / "2", Guess.NAMES) == {"a": b""}
    disk.apply(call("fsync", file))
    assert sure(disk, tmp_path / "3") == {}
    disk.apply(call("fsync", folder))
    disk.apply(call("write", file, "two", "3", result=3))
    assert sure(disk, tmp_path / "4") == {"a": b"one"}
    disk.apply(call("rename", f"{root}/a", f"{root}/b"))
    assert sure(disk, tmp_path / "5") == {"a": b"one"}
    disk.apply(call("fsync", f"3<{root}/b>"))
    disk.apply(call("fsync", folder))
    assert sure(disk, tmp_path / "6") == {"b": b"onetwo"}


def test_a_synchronisation_covers_what_was_written_before_it_began(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").write_bytes(b"old")
    disk = Disk(tmp_path / "root")
    path = "".join(f"\\x{byte:02x}" for byte in bytes(tmp_path / "root" / "a"))
    lines = [
        f"1 fsync(3<{path}> <unfinished ...>",
        f'2 pwrite64(3<{path}>, "\\x6e\\x65\\x77", 3, 0) = 3',
        "1 <... fsync resumed>) = 0",
    ]
    for each in calls_of(lines):
        disk.apply(each)
    assert sure(disk, tmp_path / "1") == {"a": b"old"}
    for each in calls_of([f"1 fsync(3<{path}>) = 0"]):
        disk.apply(each)
    assert sure(disk, tmp_path / "2") == {"a": b"new"}


@pytest.mark.parametrize(
    "unknown",
    [
        ("copy_file_range", "4</elsewhere>", "NULL", "3<{root}/a>", "NULL", "9", "0"),
        ("fallocate", "3<{root}/a>", "0", "0", "9"),
        ("mmap", "NULL", "9", "PROT_READ|PROT_WRITE", "MAP_SHARED", "3<{root}/a>", "0"),
        ("io_uring_setup", "8", "0"),
        ("pwritev2", "3<{root}/a>", "x", "1", "0", "0"),
    ],
)
def test_a_call_that_is_not_replayed_fails_the_run(tmp_path: Path, unknown: tuple[str, ...]) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").write_bytes(b"old")
    name, *arguments = (part.format(root=tmp_path / "root") for part in unknown)
    with pytest.raises(UnknownCallError):
        Disk(tmp_path / "root").apply(call(name, *arguments))
