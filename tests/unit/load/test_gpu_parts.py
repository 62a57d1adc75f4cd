"""Parts for machines without internet: what is split is joined again to the byte, or refused by name."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_tests.gpu import parts
from load_tests.gpu.parts import Group, PackError, Piece


def packed(folder: Path, contents: dict[str, bytes], part_bytes: int = 10) -> Group:
    sources = {}
    for number, (name, data) in enumerate(contents.items()):
        sources[name] = folder / f"source-{number}"
        sources[name].write_bytes(data)
    (folder / "parts").mkdir(exist_ok=True)
    return parts.split("wheels", sources, folder / "parts", part_bytes)


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 17))
def test_what_is_split_is_joined_to_the_byte(
    tmp_path_factory: pytest.TempPathFactory, data: list[bytes], part_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("pack")
    contents = {f"deep/{number}.whl": content for number, content in enumerate(data)}
    group = packed(folder, contents, part_bytes)
    assert all(0 < part.bytes <= part_bytes for part in group.parts)
    assert sum(part.bytes for part in group.parts) == sum(map(len, data))
    parts.join(group, folder / "parts", folder / "out")
    assert {name: path.read_bytes() for name, path in parts.files_below(folder / "out").items()} == contents


def test_programs_stay_programs(tmp_path: Path) -> None:
    program = tmp_path / "python3"
    program.write_bytes(b"#!")
    program.chmod(0o755)
    group = parts.split("python", {"bin/python3": program}, tmp_path, 10)
    parts.join(group, tmp_path, tmp_path / "out")
    assert (tmp_path / "out/bin/python3").stat().st_mode & 0o777 == 0o755


def test_a_damaged_part_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    group = packed(tmp_path, {"a": b"0123456789abcde"})
    (tmp_path / "parts" / "wheels.001").write_bytes(b"abcdX")
    with pytest.raises(PackError, match=r"wheels\.001 is damaged"):
        parts.join(group, tmp_path / "parts", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_missing_part_is_named(tmp_path: Path) -> None:
    group = packed(tmp_path, {"a": bytes(35)})
    for number in (1, 3):
        (tmp_path / "parts" / f"wheels.{number:03d}").unlink()
    with pytest.raises(PackError, match=r"wheels\.001, wheels\.003 missing"):
        parts.join(group, tmp_path / "parts", tmp_path / "out")


def test_a_file_that_is_not_the_manifests_does_not_appear(tmp_path: Path) -> None:
    group = packed(tmp_path, {"a": b"0123"})
    other = Group(group.name, (Piece("a", 4, "0" * 64),), group.parts)
    with pytest.raises(PackError, match="file a is not what was packed"):
        parts.join(other, tmp_path / "parts", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("path", ["../a", "/etc/a", "a/../../b", ""])
def test_no_path_leads_out_of_its_folder(path: str, tmp_path: Path) -> None:
    group = packed(tmp_path, {"a": b"0123"})
    outside = Group(group.name, (Piece(path, 4, group.files[0].sha256),), group.parts)
    with pytest.raises(PackError, match="leads out"):
        parts.join(outside, tmp_path / "parts", tmp_path / "out")


def test_a_manifest_keeps_the_groups_that_are_not_made_anew(tmp_path: Path) -> None:
    first, second = packed(tmp_path, {"a": b"1"}), Group("models", (), ())
    parts.write_manifest(tmp_path, [first], {"python": "3.12"})
    parts.write_manifest(tmp_path, [second], {"python": "3.12"})
    assert parts.read_manifest(tmp_path) == [first, second]
    assert json.loads((tmp_path / parts.MANIFEST).read_text())["python"] == "3.12"


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2, "groups": []}', '{"format": 1, "groups": [{"name": 1}]}'])
def test_a_manifest_that_cannot_be_read_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / parts.MANIFEST).write_text(text)
    with pytest.raises(PackError):
        parts.read_manifest(tmp_path)
