"""The audit log on the disk: its chain, its files, what a restart does, and what the verification finds."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline_server.access.audit_log.chain import following, next_key, origin, sealed_all
from sightline_server.access.audit_log.chain_writer import ChainWriter, Rotation
from sightline_server.access.audit_log.files import files_of, header_of, lines_of
from sightline_server.access.audit_log.folder import open_chain, prepare, read_first_key, read_root
from sightline_server.access.audit_log.records import event
from sightline_server.access.audit_log.state import read_state
from sightline_server.access.audit_log.verifying import ChainReport, verify_log
from sightline_server.errors import ErrorKind, SightlineError

NOON = 1_795_694_400.0
"""A Unix time: noon of 26 November 2026 in UTC."""
DAY = 86_400.0
KEY = bytes(range(32))


@dataclass
class Log:
    """An audit log in a folder, its clock and its open chains."""

    folder: Path
    now: float = NOON
    rotation: Rotation = field(default_factory=Rotation)

    def __post_init__(self) -> None:
        self.key_file = self.folder.with_suffix(".key")
        self.key_file.write_text(KEY.hex() + "\n")
        self.key_file.chmod(0o600)

    @contextmanager
    def opened(self, *, closes: bool = True) -> Any:
        """A writer; without `closes` it ends as a killed process does."""
        writer, lock = open_chain(self.folder, self.key_file, self.rotation, lambda: self.now)
        try:
            yield writer
        finally:
            if closes:
                writer.close()
            else:
                os.close(writer._descriptor)
                writer._state.close()
            os.close(lock)

    def reports(self) -> list[ChainReport]:
        return verify_log(self.folder, KEY)

    def faults(self) -> list[str]:
        return [each.text for report in self.reports() for each in report.findings if each.fault]

    def notes(self) -> list[str]:
        return [each.text for report in self.reports() for each in report.findings if not each.fault]

    @property
    def chain(self) -> Path:
        return self.folder / "chain-0"

    @property
    def last_file(self) -> Path:
        return files_of(self.chain)[-1].path


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "audit")


def records(count: int, start: int = 0) -> list[Any]:
    return [event("access_decision", NOON, request_id=f"r{number}") for number in range(start, start + count)]


def written(log: Log, *groups: int, closes: bool = True) -> None:
    """A process that writes groups of so many records."""
    with log.opened(closes=closes) as writer:
        for count in groups:
            writer.append(records(count))


def test_a_line_follows_only_the_line_before_it_and_its_key_is_used_once() -> None:
    data, link = sealed_all(origin(0, KEY), 0, records(3))
    first, second, third = data.splitlines(keepends=True)
    after = following(origin(0, KEY), first)
    assert after is not None and following(after, second) is not None
    assert following(after, third) is None
    assert following(origin(1, KEY), first) is None
    assert link.key == next_key(origin(0, KEY).key, 3)
    assert json.loads(first)["record_id"] == "0-0"


def test_a_log_that_was_closed_is_intact_and_continued_by_the_next_start(log: Log) -> None:
    written(log, 2, 3)
    written(log, 1)
    (report,) = log.reports()
    # Each start begins a file with its own record.
    assert (report.records, report.first, report.last, report.findings) == (8, "0-0", "0-7", [])
    header = header_of(files_of(log.chain)[1])
    assert header is not None and header["cause"] == "start"
    assert header["previous_file"] == files_of(log.chain)[0].path.name


def test_nothing_on_the_disk_leads_back_to_an_earlier_key(log: Log) -> None:
    written(log, 5)
    state = read_state(log.chain / "state")
    assert state is not None
    earlier = [next_key(origin(0, KEY).key, steps) for steps in range(state.link.seq)]
    held = b"".join(path.read_bytes() for path in log.folder.rglob("*") if path.is_file())
    root = read_root(log.folder)
    assert root is not None
    for key in (KEY, *earlier):
        assert key not in held and key.hex().encode() not in held
        assert key != root.secret
    assert state.link.key == next_key(origin(0, KEY).key, 6)


@pytest.mark.parametrize("mode", ["group", "torn", "garbage", "state"])
def test_a_killed_process_leaves_a_log_that_the_next_one_continues(log: Log, mode: str) -> None:
    written(log, 4, closes=False)
    whole = log.last_file.read_bytes()
    link = read_state(log.chain / "state")
    assert link is not None
    group, _ = sealed_all(link.link, 0, records(2, 4))
    # Written, and never acknowledged: the state does not have it.
    rest = {"group": group, "torn": group[:-7], "garbage": group[:-7] + bytes(4096), "state": b""}[mode]
    log.last_file.write_bytes(whole + rest)
    if mode == "torn":
        assert log.faults() == [] and "was not finished" in log.notes()[0]
    if mode == "state":
        # The kernel had not written the last state when the power failed.
        (log.chain / "state").write_bytes((log.chain / "state").read_bytes()[:512].ljust(1024))
    written(log, 1)
    assert log.faults() == []
    (report,) = log.reports()
    kept = {"group": 2, "torn": 1, "garbage": 1, "state": 0}[mode]
    assert report.records == 1 + 4 + kept + 1 + 1
    header = header_of(files_of(log.chain)[1])
    lost = len(rest) - sum(map(len, group.splitlines(keepends=True)[:kept])) if rest else 0
    assert header is not None and header.get("unfinished_bytes", 0) == lost
    # What was unfinished is still there, and cannot be changed or added to any more.
    if lost:
        first = files_of(log.chain)[0].path
        first.write_bytes(first.read_bytes()[:-1] + b"x")
        assert "behind its last record were added or changed" in log.faults()[0]


def test_a_file_whose_first_record_was_not_finished_is_removed(log: Log) -> None:
    written(log, 2, closes=False)
    for content in (b"", b'{"record_id":"0-3","event'):
        number = files_of(log.chain)[-1].number + 1
        (log.chain / f"{number:06d}-20261126.jsonl").write_bytes(content)
        written(log, 1, closes=False)
        assert log.faults() == []


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, name: str, after: int = 0, code: int = errno.ENOSPC) -> Any:
    """The `after`th call of `os.NAME` in the writer and those that follow fail; a write writes a part first."""
    real: Callable[..., Any] = getattr(os, name)
    calls = 0

    def fake(descriptor: int, *rest: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls <= after:
            return real(descriptor, *rest)
        if name == "write" and calls == after + 1 and len(rest[0]) > 10:
            return real(descriptor, rest[0][:10])
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, name, fake)
        yield


@pytest.mark.parametrize("name", ["write", "fdatasync", "fsync"])
@pytest.mark.parametrize("ends", ["same process", "restart", "killed"])
def test_a_write_that_fails_loses_no_record_that_was_acknowledged(
    log: Log, monkeypatch: pytest.MonkeyPatch, name: str, ends: str
) -> None:
    with log.opened(closes=ends != "killed") as writer:
        writer.append(records(2))
        if name == "fsync":
            log.now += DAY
        with failing(monkeypatch, name):
            for start in (10, 20):
                with pytest.raises(OSError, match="No space"):
                    writer.append(records(2, start))
        if ends == "same process":
            writer.append(records(1, 30))
    written(log, 1)
    assert log.faults() == []
    ids = [json.loads(line).get("request_id") for file in files_of(log.chain) for line in lines_of(file.path)
           if b"r3" in line or b"r0" in line or b"r1" in line]  # fmt: skip
    assert {"r0", "r1"} <= set(ids)
    if ends == "same process":
        assert "r30" in ids
        headers = [header_of(file) or {} for file in files_of(log.chain)]
        assert sum(int(str(each.get("refused", 0))) for each in headers) == 4


def test_a_file_ends_with_its_size_and_its_day_and_the_chain_goes_on(log: Log) -> None:
    log.rotation = Rotation(file_bytes=2000)
    with log.opened() as writer:
        for _ in range(12):
            writer.append(records(4))
        log.now += DAY
        writer.append(records(1))
    causes = [(header_of(file) or {})["cause"] for file in files_of(log.chain)]
    assert causes[0] == "start" and causes[-1] == "day" and set(causes[1:-1]) == {"size"} and len(causes) > 4
    assert log.last_file.name.endswith("-20261127.jsonl")
    assert log.faults() == []


def test_old_files_are_removed_and_the_log_says_so(log: Log) -> None:
    log.rotation = Rotation(keep_days=2)
    for _ in range(5):
        written(log, 3)
        log.now += DAY
    assert log.faults() == []
    assert "the server removed old files" in log.notes()[0]
    assert len(files_of(log.chain)) == 3
    files_of(log.chain)[0].path.unlink()
    assert "no record says that the server removed them" in log.faults()[0]


def test_a_file_that_is_moved_while_it_is_written_is_noticed(log: Log) -> None:
    with log.opened() as writer:
        writer.append(records(1))
        log.last_file.rename(log.folder / "elsewhere")
        writer.append(records(1))
    assert (header_of(files_of(log.chain)[-1]) or {})["cause"] == "moved"
    assert "missing" in log.faults()[0]


def test_two_processes_write_two_chains_and_a_free_one_is_taken_again(log: Log) -> None:
    with log.opened() as first, log.opened() as second:
        assert (first.number, second.number) == (0, 1)
        first.append(records(1))
        second.append(records(2))
    with log.opened() as again:
        assert again.number == 0
    assert [report.records for report in log.reports()] == [3, 3]
    assert log.faults() == []
    shutil.rmtree(log.folder / "chain-1")
    assert log.faults() == ["the whole chain is missing"]


def test_a_key_is_made_once_where_none_is_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "audit"
    prepare(folder, None)
    made = folder / "first.key"
    assert made.stat().st_mode & 0o777 == 0o600
    assert "move it to another machine" in caplog.text
    assert read_first_key(made).hex() not in caplog.text
    key = made.read_bytes()
    writer, lock = open_chain(folder, None, Rotation(), lambda: NOON)
    writer.close()
    os.close(lock)
    assert made.read_bytes() == key
    (report,) = verify_log(folder, read_first_key(made))
    assert report.records == 1 and not report.faults
    made.unlink()
    caplog.clear()
    prepare(folder, None)
    assert not made.exists() and not caplog.text


def wrong_key(log: Log) -> None:
    log.key_file.write_text("0" * 64)


def no_state(log: Log) -> None:
    (log.chain / "state").write_bytes(b"x" * 1024)


def no_root(log: Log) -> None:
    (log.folder / "root.json").unlink()


def damaged_root(log: Log) -> None:
    (log.folder / "root.json").write_text("{}")


def public_key(log: Log) -> None:
    log.key_file.chmod(0o644)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (wrong_key, "is not the first key"),
        (no_state, "missing or damaged"),
        (no_root, "without its root.json"),
        (damaged_root, "cannot read"),
        (public_key, "mode 0644"),
    ],
)
def test_a_log_that_cannot_be_continued_is_an_error_of_the_configuration(
    log: Log, harm: Callable[[Log], None], said: str
) -> None:
    written(log, 1)
    harm(log)
    with pytest.raises(SightlineError, match=said) as caught:
        written(log, 1)
    assert caught.value.kind is ErrorKind.CONFIGURATION


@pytest.mark.parametrize("content", ["", "xyz", "ab" * 31, "ab" * 33])
def test_a_file_that_is_not_a_key_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SightlineError, match="64 hexadecimal digits"):
        read_first_key(path)


def changed(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b"r2", b"r9"), *lines[4:]]


def changed_mac(lines: list[bytes]) -> list[bytes]:
    flipped = b"0" if lines[3][-4:-3] != b"0" else b"1"
    return [*lines[:3], lines[3][:-4] + flipped + lines[3][-3:], *lines[4:]]


HARMS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], list[str]]] = {
    "changed": (changed, ["record 0-3 was changed"]),
    "MAC changed": (changed_mac, ["record 0-3 was changed"]),
    "removed": (lambda lines: lines[:3] + lines[4:], ["record 0-3 is missing; 0-4"]),
    "two removed": (lambda lines: lines[:3] + lines[5:], ["records 0-3 to 0-4 (2) are missing; 0-5"]),
    "copied": (lambda lines: [*lines[:4], lines[2], *lines[4:]], ["record 0-2 is out of order"]),
    "swapped": (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], ["0-3 is missing", "0-3 is out of order"]),
    "inserted": (lambda lines: [*lines[:3], b"{}\n", *lines[3:]], ["not a record; record 0-3 was expected"]),
    "end removed": (lambda lines: lines[:-2], ["records 0-6 to 0-7 (2) are missing at the end"]),
    "half a line removed": (lambda lines: [*lines[:-1], lines[-1][:-9]], ["not a record", "record 0-7 is missing at"]),
    "all removed": (lambda lines: [], ["records 0-0 to 0-7 (8) are missing at the end"]),
}


@pytest.mark.parametrize("name", HARMS)
def test_a_change_of_lines_is_found_and_named(log: Log, name: str) -> None:
    written(log, 7)
    harm, said = HARMS[name]
    log.last_file.write_bytes(b"".join(harm(log.last_file.read_bytes().splitlines(keepends=True))))
    found = log.faults()
    assert len(found) == len(said), found
    for text, expected in zip(found, said, strict=True):
        assert expected in text


def test_a_cut_end_is_found_although_the_thief_has_the_key_of_today(log: Log) -> None:
    written(log, 7, closes=False)
    state = read_state(log.chain / "state")
    assert state is not None
    lines = log.last_file.read_bytes().splitlines(keepends=True)
    log.last_file.write_bytes(b"".join(lines[:4]))
    for seq in (2, 4):
        link = type(state.link)(seq, state.link.key, bytes.fromhex(lines[seq - 1][-67:-3].decode()))
        forged = type(state)(link, state.file, sum(map(len, lines[:seq])))
        (log.chain / "state").write_bytes(forged.encode() * 2)
        assert log.faults() == ["it was changed: whether records at the end are missing is not known"]
    (log.chain / "state").unlink()
    assert "whether records at the end are missing is not known" in log.faults()[0]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_file_that_is_removed_is_found(log: Log, which: int) -> None:
    for _ in range(3):
        written(log, 3)
    files_of(log.chain)[which].path.unlink()
    assert any("missing" in text for text in log.faults())


def test_a_key_of_another_log_is_refused_before_anything_is_verified(log: Log) -> None:
    written(log, 1)
    with pytest.raises(SightlineError, match="not the first key"):
        verify_log(log.folder, bytes(32))
    (log.folder / "root.json").unlink()
    with pytest.raises(SightlineError, match="not the first key"):
        verify_log(log.folder, bytes(32))
    assert "whether whole chains are missing" in log.faults()[0]


@cache
def pristine() -> Log:
    """A log of three files with an unfinished end in one of them; the folder lives as long as the session."""
    log = Log(Path(mkdtemp(prefix="sightline-audit-test-")) / "audit")
    log.rotation = Rotation(file_bytes=900)
    written(log, 2, closes=False)
    with log.last_file.open("ab") as file:
        file.write(b'{"record_id":"0-3","ev')
    written(log, 2, 2)
    assert log.faults() == []
    return log


@pytest.fixture(scope="module", autouse=True)
def removed() -> Any:
    yield
    if pristine.cache_info().currsize:
        shutil.rmtree(pristine().folder.parent)
        pristine.cache_clear()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_single_change_of_bytes_is_found(data: st.DataObject) -> None:
    log = pristine()
    file = data.draw(st.sampled_from([file.path for file in files_of(log.chain)]), "file")
    content = file.read_bytes()
    at = data.draw(st.integers(0, len(content)), "at")
    removed = data.draw(st.integers(0, 3), "removed bytes")
    added = data.draw(st.binary(min_size=0 if removed else 1, max_size=3), "added bytes")
    harmed = content[:at] + added + content[at + removed :]
    if harmed == content:
        return
    try:
        file.write_bytes(harmed)
        assert log.faults() != []
    finally:
        file.write_bytes(content)


def test_the_writer_is_not_needed_to_append(log: Log) -> None:
    """The state of a chain is all that continues it: the key moves on with each record."""
    written(log, 1)
    state = read_state(log.chain / "state")
    assert state is not None
    writer = ChainWriter(0, log.chain, "id", state, now=lambda: NOON)
    writer.append(records(1))
    writer.close()
    assert log.faults() == []
