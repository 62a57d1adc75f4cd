"""`sightline audit`: what it prints and its exit codes; and the bound on records of a flood."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline_server.access.audit import DENIED, AuditRecord
from sightline_server.access.audit_log.chain_writer import USUAL
from sightline_server.access.audit_log.flood import MOST_KINDS, Flood
from sightline_server.access.audit_log.folder import FIRST_KEY, open_chain
from sightline_server.access.audit_log.records import decision
from sightline_server.cli.audit import app
from tests.support.clock import HandClock

RUN = CliRunner()
NOON = 1_795_694_400.0
RECORD = AuditRecord("r-1", "app", "sightline.v1.LensService", "Search", "shop", "interactive", "allowed", "the policy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log of three decisions."""
    folder = tmp_path / "audit"
    writer, _ = open_chain(folder, None, USUAL, lambda: NOON)
    for name in ("r-1", "r-2", "r-22"):
        writer.append([decision(AuditRecord(name, *rest(RECORD)), NOON)])
    writer.close()
    return folder


def rest(record: AuditRecord) -> list[str]:
    return [getattr(record, name) for name in AuditRecord.__slots__[1:]]


def run(*arguments: object) -> tuple[int, str, str]:
    done = RUN.invoke(app, [str(each) for each in arguments])
    return done.exit_code, done.stdout, done.stderr


def harm(folder: Path) -> None:
    (file,) = (folder / "chain-0").glob("*.jsonl")
    file.write_bytes(file.read_bytes().replace(b'"r-2"', b'"r-3"'))


def test_verify_says_what_was_found_and_exits_with_1_for_a_fault(folder: Path) -> None:
    code, said, _ = run("verify", folder, "--key", folder / FIRST_KEY)
    assert (code, said) == (0, "chain-0: 4 records, 0-0 to 0-3: intact\n")
    harm(folder)
    code, said, _ = run("verify", folder, "--key", folder / FIRST_KEY)
    assert code == 1
    assert "1 fault" in said and "FAULT chain-0/000001-20261126.jsonl:3: record 0-2 was changed" in said
    code, said, _ = run("verify", folder, "--key", folder / FIRST_KEY, "--json")
    (chain,) = json.loads(said)["chains"]
    assert (code, chain["faults"], chain["findings"][0]["fault"]) == (1, 1, True)


def test_tail_prints_the_last_records(folder: Path) -> None:
    code, said, _ = run("tail", folder, "-n", 2)
    assert code == 0
    assert [json.loads(line)["request_id"] for line in said.splitlines()] == ["r-2", "r-22"]


def test_a_receipt_has_the_record_with_its_place_and_is_found_in_the_log_again(folder: Path, tmp_path: Path) -> None:
    code, said, _ = run("receipt", "r-2", "--folder", folder)
    given = json.loads(said)
    (record,) = given["records"]
    assert (code, given["receipt_id"], record["line"]) == (0, "0-2", 3)
    fields = json.loads(record["record"])
    assert (fields["request_id"], fields["entity_id"], fields["event_state"]) == ("r-2", "app", "allowed")
    path = tmp_path / "receipt.json"
    path.write_text(said)
    code, said, _ = run("verify", folder, "--key", folder / FIRST_KEY, "--receipt", path)
    assert code == 0 and "receipt: in the log as it was given" in said
    record["record"] = record["record"].replace("allowed", "denied")
    path.write_text(json.dumps(given))
    code, said, _ = run("verify", folder, "--key", folder / FIRST_KEY, "--receipt", path)
    assert code == 1 and "FAULT receipt" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["receipt", "r-9", "--folder", "{folder}"], "no record of this request id"),
        (["receipt", "", "--folder", "{folder}"], "no record of this request id"),
        (["tail", "{folder}/nowhere"], "is not a folder"),
        (["tail"], "set audit.folder"),
        (["verify", "{folder}", "--key", "{folder}/nowhere"], "cannot read"),
        (["verify", "{folder}", "--key", "{folder}/root.json"], "64 hexadecimal digits"),
        (["verify", "{folder}", "--key", "{folder}/first.key", "--receipt", "{folder}/root.json"], "is not a receipt"),
        (["verify", "{folder}", "--key", "{folder}/first.key", "--receipt", "{folder}/lock"], "is not a receipt"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(folder: Path, arguments: list[str], said: str) -> None:
    code, out, error = run(*(each.format(folder=folder) for each in arguments))
    assert (code, out) == (2, "")
    assert error.count("\n") == 1 and said in error


def test_a_flood_of_unidentified_callers_is_counted_above_a_rate() -> None:
    clock = HandClock(NOON)
    flood = Flood(clock, rate=10)
    denied = AuditRecord("r", "", "s", "Search", "", "", DENIED, "malformed")
    assert [flood.holds(denied) for _ in range(15)] == [False] * 10 + [True] * 5
    # Callers with a name and calls that are allowed always have their own record.
    assert not flood.holds(RECORD)
    assert flood.due() == []
    clock.now += 1.0
    ((kind, count),) = flood.due()
    assert (kind.request_id, kind.reason, count) == ("", "malformed", 5)
    assert flood.due(all_now=True) == []
    assert [flood.holds(denied) for _ in range(11)] == [False] * 10 + [True]


def test_a_flood_of_many_kinds_takes_bounded_memory() -> None:
    flood = Flood(HandClock(NOON), rate=0)
    for number in range(10 * MOST_KINDS):
        assert flood.holds(AuditRecord("r", "", "s", "Search", "", "", DENIED, f"reason {number}"))
    found = flood.due(all_now=True)
    assert len(found) == MOST_KINDS + 1
    assert sum(count for _, count in found) == 10 * MOST_KINDS
