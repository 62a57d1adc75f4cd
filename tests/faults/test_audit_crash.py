"""A short run of `load_tests.audit_crash`, and that the run would notice a lost record."""

from pathlib import Path

from load_tests.audit_crash import Result, compare, crash


def test_a_killed_process_loses_no_acknowledged_record(tmp_path: Path) -> None:
    result = crash(tmp_path, rounds=2, callers=16, seed=5, changes=3)
    assert result.kept(16), result
    assert result.rounds == 2 and result.changes == 3


def test_a_record_that_was_acknowledged_and_is_missing_is_counted(tmp_path: Path) -> None:
    crash(tmp_path, rounds=1, callers=1, seed=1, changes=0)
    found = Result()
    compare(tmp_path / "audit", ["sent a", "done a", "sent b"], found)
    assert (found.lost, found.unacknowledged_missing) == (1, 1)
    assert not found.kept(1)
