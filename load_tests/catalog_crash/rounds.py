"""Rounds of a process that writes to a catalog alone: it is ended at a random moment, and the catalog is compared.

Rule: only a group whose line was printed counts as acknowledged. One that was sent and not acknowledged may be there as
a whole, or not at all.
"""

import random
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from load_tests.catalog_crash.expected import Expected, found_states
from load_tests.catalog_crash.rows import SPEC, product_row
from load_tests.catalog_crash.writing import STOPPED
from sightline_server.catalog.verify import verify
from sightline_server.index.catalog import open_catalog
from sightline_server.index.living import LivingCatalog
from sightline_server.index.writer import CatalogWriter

STALL_S = 60.0
STOP_S = 10.0
SIGNALS = {"kill": 0.0, "term": 1.0, "mixed": 0.3}
"""The share of rounds that end with SIGTERM instead of SIGKILL."""


@dataclass
class Result:
    """The outcome of all rounds."""

    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    damaged: int = 0
    not_stopped: int = 0
    terminated: int = 0
    killed_while_opening: int = 0
    revisions: int = 0


def play_round(catalog: Path, expected: Expected, result: Result, writers: int, seed: int, terminate: float) -> None:
    """Starts the writers, kills or terminates them, and compares the catalog with the acknowledged groups."""
    choice = random.Random(seed)
    command = [sys.executable, "-m", "load_tests.catalog_crash.writing", str(catalog), str(writers), str(seed)]
    kill = signal.SIGTERM if choice.random() < terminate else signal.SIGKILL
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        early = choice.random() < 0.1 and kill is signal.SIGKILL
        if not early:
            process.stdout.readline()
        timer = threading.Timer(choice.uniform(0.0, 0.2 if early else 2.0), process.send_signal, (kill,))
        guard = threading.Timer(2.0 + STOP_S if kill is signal.SIGTERM else STALL_S, process.kill)
        timer.start()
        guard.start()
        lines = process.stdout.read().split("\n")
        said = process.stderr.read()
        guard.cancel()
        timer.cancel()
    if kill is signal.SIGTERM:
        result.terminated += 1
        if process.returncode != STOPPED or said:
            result.not_stopped += 1
            print(f"SIGTERM: exit code {process.returncode}: {said[-2000:]}", file=sys.stderr)
    # The last line may be cut, and then it does not count.
    for line in lines[:-1]:
        expected.read(line)
    result.killed_while_opening += not any(line.startswith("sent") for line in lines)
    result.acknowledged += sum(line.startswith("done") for line in lines[:-1])
    compare(catalog, expected, result)


def compare(catalog: Path, expected: Expected, result: Result) -> None:
    """Counts what was lost, and takes what is there as known."""
    bad = [finding.text for finding in verify(catalog, all_revisions=True) if not finding.good]
    result.damaged += len(bad)
    for text in bad:
        print(text, file=sys.stderr)
    found = found_states(catalog)
    for name in {*expected.known, *expected.open, *found}:
        states = found.get(name, {""})
        if len(states) != 1 or not states <= set(expected.allowed(name)):
            result.lost += 1
            print(f"{name}: found {sorted(states)}, allowed {expected.allowed(name)}", file=sys.stderr)
        expected.known[name] = min(states)
    expected.open.clear()


def crash(work: Path, rounds: int, writers: int, products: int, seed: int, signals: str = "mixed") -> Result:
    """Plays `rounds` on a new catalog of `products` below `work`."""
    catalog = work / "shop"
    with CatalogWriter(catalog, SPEC, replace=False) as writer:
        writer.add([product_row(f"p{number}", number) for number in range(products)])
        writer.publish(datetime.now(UTC))
    expected, result = Expected(), Result()
    for number in range(rounds):
        play_round(catalog, expected, result, writers, seed * 10_000 + number, SIGNALS[signals])
        result.rounds += 1
    with LivingCatalog(catalog) as living:
        living.checkpoint()
        result.revisions = living.store.revisions[0].number
    compare(catalog, expected, result)
    untouched = sum(row_id.startswith("p") for row_id in open_catalog(catalog, SPEC).display["id"].to_pylist())
    result.lost += products - untouched
    return result
