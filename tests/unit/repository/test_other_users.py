"""The support of tests that start a process as another user."""

import os
import shutil
import sys

import pytest

from tests.support import users
from tests.support.users import as_other, closed_to_others, let_all_read, open_folder


def test_open_folder_and_its_files_can_be_read_under_any_umask() -> None:
    before = os.umask(0o077)
    try:
        with open_folder() as folder:
            (folder / "inner").mkdir()
            (folder / "inner" / "file").write_text("content")
            assert closed_to_others(folder / "inner" / "file") == folder / "inner"
            assert let_all_read(folder) == folder
            assert closed_to_others(folder / "inner") is None
            assert (folder / "inner" / "file").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_closed_folder_behind_a_link_is_named() -> None:
    with open_folder() as folder:
        (folder / "closed").mkdir(mode=0o700)
        (folder / "closed" / "program").touch()
        (folder / "link").symlink_to(folder / "closed" / "program")
        assert closed_to_others(folder / "link") == folder / "closed"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_other_user_who_could_not_read_the_checkout_is_a_skip_that_names_the_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(users, "may_grant_reading", lambda: False)
    monkeypatch.setattr(sys, "base_prefix", "/")
    monkeypatch.setattr(sys, "prefix", "/")
    monkeypatch.setattr(sys, "executable", "/bin/sh")
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/setpriv")
    with open_folder() as folder:
        monkeypatch.setattr(users, "CHECKOUT", folder)
        assert "dac_read_search" not in " ".join(as_other())
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        monkeypatch.setattr(users, "CHECKOUT", closed / "checkout")
        with pytest.raises(pytest.skip.Exception, match=f"other users may not enter {closed}, "):
            as_other()
