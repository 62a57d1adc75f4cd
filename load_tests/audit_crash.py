"""Kills of a process that writes an audit log under load: no acknowledged record is lost, and the chain verifies.

    python -m load_tests.audit_crash [--rounds 20] [--served] [--callers 32] [--seed 0] [--work DIR]

Each round starts a process in which callers record decisions as calls do, waits until it is busy, and kills it with
SIGKILL at a random moment. With `--served` the process is a server of search over a fake engine, and the callers are
gRPC clients here. Then the log is verified: no fault, every acknowledged record, and of the others at most one for each
caller missing. At last single bytes of a copy are changed, each of which must be found. Prints one JSON object;
exit code 1 when anything else was found.
"""

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sightline_server.access.audit import ALLOWED, AuditRecord
from sightline_server.access.audit_log.chain_writer import Rotation
from sightline_server.access.audit_log.file_audit import AuditLogOptions, FileAudit
from sightline_server.access.audit_log.files import chains_of, files_of
from sightline_server.access.audit_log.folder import FIRST_KEY, read_first_key
from sightline_server.access.audit_log.reading import placed_records
from sightline_server.access.audit_log.verifying import verify_log

STALL_S = 60.0
FILE_BYTES = 64 * 1024
"""Small files, so that some kills meet the beginning of one."""
CHANGES = 20
"""Files in which a byte is changed; each change is looked for in the whole log."""


@dataclass
class Result:
    """The outcome of all rounds."""

    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    unacknowledged_missing: int = 0
    most_missing_in_a_round: int = 0
    faults: int = 0
    files: int = 0
    changes: int = 0
    changes_not_found: int = 0

    def kept(self, callers: int) -> bool:
        """Returns whether all promises were kept."""
        bad = self.lost or self.faults or self.changes_not_found or self.most_missing_in_a_round > callers
        return not bad and self.acknowledged > 0


async def call_for_ever(folder: Path, callers: int) -> None:
    """The process that is killed: each caller records a decision, waits for it, and prints its id before and after."""
    audit = FileAudit(AuditLogOptions(folder, rotation=Rotation(FILE_BYTES)))

    async def call(caller: int) -> None:
        for turn in range(1_000_000):
            name = f"r{caller}-{turn}-{time.time_ns()}"
            audit.record(AuditRecord(name, f"app{caller}", "s", "Search", "shop", "interactive", ALLOWED, "the policy"))
            sys.stdout.write(f"sent {name}\n")
            sys.stdout.flush()
            await audit.durable(name)
            sys.stdout.write(f"done {name}\n")
            sys.stdout.flush()

    print("ready", flush=True)
    await asyncio.gather(*map(call, range(callers)))


def play_round(folder: Path, callers: int, seconds: float) -> list[str]:
    """Starts the process, kills it after it was ready for `seconds`, and returns what it printed in whole lines."""
    command = [sys.executable, "-m", "load_tests.audit_crash", "--child", str(folder), "--callers", str(callers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        guard = threading.Timer(STALL_S, process.kill)
        guard.start()
        process.stdout.readline()
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        lines = process.stdout.read().split("\n")[:-1]
        guard.cancel()
        timer.cancel()
    return lines


def play_served_round(folder: Path, callers: int, seconds: float) -> list[str]:
    """The same with a server, which answers searches of clients here."""
    command = [sys.executable, "-m", "tests.support.audited_server", str(folder)]
    # It serves until its standard input ends, so it does not outlive this process.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        guard = threading.Timer(STALL_S, process.kill)
        guard.start()
        address = process.stdout.readline().strip()
        lines = asyncio.run(search_until_killed(address, process, callers, seconds))
        guard.cancel()
    return lines


async def search_until_killed(
    address: str, process: "subprocess.Popen[str]", callers: int, seconds: float
) -> list[str]:
    """Searches without a pause until the server is gone. A call counts as acknowledged with its first event."""
    # Late, because the process that is killed starts with this module, too.
    import grpc

    from sightline.v1 import lens_service_pb2, lens_service_pb2_grpc
    from tests.support.asking import PHOTO, events_of

    lines: list[str] = []

    async def call(stub: Any) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):
            while process.poll() is None:
                found = stub.Search(lens_service_pb2.SearchRequest(photo=PHOTO), timeout=STALL_S)
                first = await found.read()
                lines.append(f"done {first.accepted.request_id}")
                await events_of(found)

    async with grpc.aio.insecure_channel(address) as channel:
        calls = [asyncio.create_task(call(lens_service_pb2_grpc.LensServiceStub(channel))) for _ in range(callers)]
        await asyncio.sleep(seconds)
        process.kill()
        await asyncio.gather(*calls)
    return lines


def compare(folder: Path, lines: Sequence[str], result: Result) -> None:
    """Verifies the log, and compares it with what was acknowledged in the round."""
    for report in verify_log(folder, read_first_key(folder / FIRST_KEY)):
        result.faults += report.faults
        for finding in report.findings:
            if finding.fault:
                print(f"{finding.where}: {finding.text}", file=sys.stderr)
    there = {str(placed.fields.get("request_id")) for placed in placed_records(folder)}
    sent = {line.removeprefix("sent ") for line in lines if line.startswith("sent ")}
    done = {line.removeprefix("done ") for line in lines if line.startswith("done ")}
    missing = len(sent - done - there)
    result.acknowledged += len(done)
    result.lost += len(done - there)
    result.unacknowledged_missing += missing
    result.most_missing_in_a_round = max(result.most_missing_in_a_round, missing)


def change_bytes(folder: Path, copy: Path, choice: random.Random, result: Result, most: int) -> None:
    """Changes a byte at a random offset of a file, one file after the other, in a copy of the log."""
    shutil.copytree(folder, copy)
    key = read_first_key(copy / FIRST_KEY)
    files = [file.path for path in chains_of(copy).values() for file in files_of(path)]
    for file in choice.sample(files, min(len(files), most)):
        content = file.read_bytes()
        at = choice.randrange(len(content))
        file.write_bytes(content[:at] + bytes([content[at] ^ (1 << choice.randrange(8))]) + content[at + 1 :])
        result.changes += 1
        result.changes_not_found += not any(report.faults for report in verify_log(copy, key))
        file.write_bytes(content)


def crash(work: Path, rounds: int, callers: int, seed: int, *, served: bool = False, changes: int = CHANGES) -> Result:
    """Plays `rounds` on a new log below `work`."""
    choice, result, folder = random.Random(seed), Result(), work / "audit"
    play = play_served_round if served else play_round
    for _ in range(rounds):
        compare(folder, play(folder, callers, choice.uniform(0.0, 1.5 if served else 0.7)), result)
        result.rounds += 1
    # A last start and a proper end: what the last kill left is recorded, and the state is closed.
    FileAudit(AuditLogOptions(folder)).close()
    compare(folder, [], result)
    result.files = sum(len(files_of(path)) for path in chains_of(folder).values())
    change_bytes(folder, work / "copy", choice, result, changes)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays and prints."""
    parser = argparse.ArgumentParser(
        prog="python -m load_tests.audit_crash",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--served", action="store_true", help="kill a server under gRPC clients")
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder for the log (default: a temporary one)")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        asyncio.run(call_for_ever(options.child, options.callers))
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sightline-audit-", dir=options.work) as work:
        result = crash(Path(work), options.rounds, options.callers, options.seed, served=options.served)
    print(json.dumps(asdict(result) | {"seconds": round(time.monotonic() - began, 1)}))
    return int(not result.kept(options.callers))


if __name__ == "__main__":
    sys.exit(main())
