"""Certificates that follow their files: what is read when, what is reported, with a clock of the test's."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from sightline_server import pem, watched_files
from sightline_server.errors import SightlineError
from sightline_server.rpc.listener import tls, tls_files
from sightline_server.rpc.listener.tls import Certificates
from sightline_server.rpc.listener.tls_files import TlsFiles
from sightline_server.watched_files import SETTLED_S
from tests.support.authority import Authority


class Clock:
    """Wall clock seconds that a test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def files(authority: Authority) -> TlsFiles:
    return TlsFiles(authority.cert, authority.key, None)


@pytest.fixture
def clock(files: TlsFiles) -> Clock:
    return Clock(files.cert.stat().st_ctime + 3600)


def test_a_change_within_the_resolution_of_time_stamps_is_found_by_a_second_reading(
    authority: Authority, files: TlsFiles, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.now = files.key.stat().st_ctime + 0.001
    frozen = watched_files.identity_of(files.paths)
    monkeypatch.setattr(watched_files, "identity_of", lambda paths: frozen)
    certificates = Certificates(files, now=clock)
    before = certificates.used
    issued = authority.issue()
    certificates.check()
    assert certificates.used == before, "not before the time stamp is certain"
    clock.now += SETTLED_S
    certificates.check()
    assert certificates.used[0] == issued
    authority.issue()
    clock.now += 100
    certificates.check()
    assert certificates.used[0] == issued, "one reading more, not one each time"


def test_a_file_of_the_future_does_not_make_every_check_a_reading(files: TlsFiles, clock: Clock) -> None:
    clock.now = 0.0
    certificates = Certificates(files, now=clock)
    assert not certificates._watch.changed()
    clock.now = 1e12
    assert not certificates._watch.changed()


def test_force_reads_what_looks_unchanged(
    authority: Authority, files: TlsFiles, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = watched_files.identity_of(files.paths)
    monkeypatch.setattr(watched_files, "identity_of", lambda paths: frozen)
    certificates = Certificates(files, now=clock)
    issued = authority.issue()
    certificates.check()
    assert certificates.used[0] != issued
    certificates.check(force=True)
    assert certificates.used[0] == issued


def test_force_says_what_it_found(
    authority: Authority, files: TlsFiles, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[bool] = []
    certificates = Certificates(files, on_check=outcomes.append, now=clock)
    with caplog.at_level(logging.INFO):
        certificates.check(force=True)
        authority.key.write_bytes(b"")
        certificates.check(force=True)
        certificates.check(force=True)
        certificates.check()
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR", "ERROR"]
    assert outcomes == [True, False, False]


def test_a_file_that_is_written_slowly_is_one_error_and_then_good(
    authority: Authority, files: TlsFiles, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(files, now=clock)
    cert, key = authority.pair()
    with caplog.at_level(logging.INFO):
        for end in range(0, len(key), 40):
            authority.key.write_bytes(key[:end])
            certificates.check()
        authority.cert.write_bytes(cert)
        authority.key.write_bytes(key)
        certificates.check()
    levels = [record.levelname for record in caplog.records]
    assert levels[-1] == "INFO"
    assert 1 <= levels.count("ERROR") <= 2, "one for each fault, not for each write"
    assert certificates.used == (cert, key)


def test_a_worker_begins_with_what_was_good_when_the_files_are_not(
    authority: Authority, files: TlsFiles, clock: Clock
) -> None:
    good = Certificates(files, now=clock).used
    authority.cert.write_bytes(b"")
    with pytest.raises(SightlineError):
        Certificates(files, now=clock)
    certificates = Certificates(files, initial=good, now=clock)
    certificates.check()
    assert certificates.used == good
    issued = authority.issue()
    certificates.check()
    assert certificates.used[0] == issued


def test_files_of_two_moments_are_not_mixed(
    authority: Authority, files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pair is replaced between the reading of the certificate and that of its key, once."""
    read, swaps = pem.read, [authority.issue]

    def read_and_swap(path: Path) -> bytes:
        content = read(path)
        if swaps:
            swaps.pop()()
        return content

    monkeypatch.setattr(tls_files, "read", read_and_swap)
    cert, key = tls_files.load(files)
    assert (cert, key) == (authority.cert.read_bytes(), authority.key.read_bytes())


def test_files_that_never_rest_are_an_error(files: TlsFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    real = pem.read

    def read_and_touch(path: Path) -> bytes:
        os.utime(path, ns=(0, files.cert.stat().st_mtime_ns + 1))
        return real(path)

    monkeypatch.setattr(tls_files, "read", read_and_touch)
    with pytest.raises(SightlineError, match="while they were read"):
        tls_files.load(files)


async def test_files_are_checked_while_nobody_connects(
    authority: Authority, files: TlsFiles, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "CHECK_S", 0.001)
    loaded = asyncio.Event()
    loop = asyncio.get_running_loop()
    certificates = Certificates(files, on_check=lambda usable: loop.call_soon_threadsafe(loaded.set), now=clock)
    checking = asyncio.create_task(certificates.keep_checking())
    issued = authority.issue()
    await asyncio.wait_for(loaded.wait(), 20)
    checking.cancel()
    await asyncio.wait([checking])
    certificates.check()
    assert certificates.used[0] == issued
