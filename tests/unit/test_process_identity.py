"""Identities of processes: a number alone is not one, because the kernel uses numbers again."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from sightline_server.process_identity import ProcessIdentity, identity_of, own_identity, start_time, stat_fields


def test_own_identity_is_number_and_start_and_survives_its_text() -> None:
    own = own_identity()
    assert (own.pid, own.start) == (os.getpid(), start_time(os.getpid()))
    assert own.start.isdigit()
    assert (own.lives, own.replaced) == (True, False)
    assert ProcessIdentity.parse(str(own)) == own
    assert ProcessIdentity.parse(f"{own}-c0") == own


def test_ended_process_has_no_start_and_does_not_live() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    before = identity_of(ended.pid)
    ended.wait()
    assert before.start.isdigit()
    assert start_time(ended.pid) == ""
    assert (before.lives, before.replaced) == (False, False)
    assert not identity_of(ended.pid).lives


def test_reused_number_is_another_process() -> None:
    own = own_identity()
    former = ProcessIdentity(own.pid, str(int(own.start) - 1))
    assert former != own
    assert (former.lives, former.replaced) == (False, True)


@pytest.mark.parametrize(
    "text", ["", "-", "1", "1-", "-1", "x-1", "1-x", "1-x-2", "-1-2", " 1-2", "\u0661-2", "\u00b2-2"]
)
def test_text_without_number_and_start_is_nobodys(text: str) -> None:
    assert ProcessIdentity.parse(text) is None


def test_process_name_with_brackets_and_blanks_does_not_shift_the_fields(tmp_path: Path) -> None:
    odd = tmp_path / "a) b (c"
    odd.write_bytes(Path("/bin/sleep").read_bytes())
    odd.chmod(0o755)
    process = subprocess.Popen([str(odd), "60"])
    try:
        fields = stat_fields(process.pid)
        assert fields[0] in "RSD"
        assert fields[1] == str(os.getpid())
        assert int(fields[19]) >= int(start_time(os.getpid()))
    finally:
        process.kill()
        process.wait()


def test_lack_of_descriptors_does_not_mean_that_a_process_is_gone() -> None:
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, usual[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            stat_fields(os.getpid())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
