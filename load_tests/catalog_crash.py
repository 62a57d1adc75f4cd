"""`kill -9` at random moments under writers of a catalog: no acknowledged write is lost, and nothing is half there.

    python -m load_tests.catalog_crash [--rounds 50] [--signal kill|term|mixed] [--writers 4] [--products 200]
                                       [--seed 0] [--work DIR]
Rule: the writing process prints a line for a group when the store has returned, and only such lines count as
acknowledged. A group that was sent and not acknowledged may be there as a whole, or not at all. After each kill the
catalog is verified, read, searched and compared. SIGTERM closes the catalog under its writers, as a server that stops
does, and must end the process within `STOP_S` seconds. Prints one JSON object; exit code 1 when anything was lost.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sightline_server.catalog.verify import verify
from sightline_server.domain.items import Product
from sightline_server.domain.models import EmbedderSpec
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.index.catalog import Catalog, open_catalog
from sightline_server.index.faiss_index import FaissIndex
from sightline_server.index.living import LivingCatalog, ProductUpdate
from sightline_server.index.schema import CatalogRow
from sightline_server.index.writer import CatalogWriter

SPEC = EmbedderSpec("crash", "1", 4, 4, 16, sha256="cd" * 32)
GROUP = 3
"""Products of one group, which must be there together or not at all."""
CHECKPOINT_EVERY = 25
COMPACT_EVERY = 4
"""Groups of one writer between two checkpoints, and checkpoints between two compactions."""
STALL_S = 60.0
STOP_S = 10.0
SIGNALS = {"kill": 0.0, "term": 1.0, "mixed": 0.3}
"""The share of rounds that end with SIGTERM instead of SIGKILL."""
STOPPED = 15
"""The exit code of a process that closed its catalog."""
FOUND, SAME = 0.999, 0.01
"""The similarity of a vector with itself, and the largest difference of its numbers, as float16."""


def product_row(product_id: str, value: int) -> CatalogRow:
    """A product whose title and embedding both show `value`."""
    vector = np.random.default_rng(value).standard_normal((1, SPEC.dimension)).astype(np.float32)
    vector /= np.linalg.norm(vector)
    return CatalogRow(Product(product_id, title=str(value)), None, (f"{product_id}.jpg",), vector)


def write_groups(catalog: Path, writers: int, seed: int) -> None:
    """The process that is killed: `writers` threads write groups until the end, and print what happened to each."""
    signal.signal(signal.SIGTERM, stop)
    with LivingCatalog(catalog) as living:
        print("ready", flush=True)
        threads = [
            threading.Thread(target=write_as, args=(living, number, seed), daemon=True) for number in range(writers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def stop(number: int, frame: object) -> None:
    """Ends the main thread, which closes the catalog while the others write."""
    raise SystemExit(STOPPED)


def write_as(living: LivingCatalog, writer: int, seed: int) -> None:
    """One writer: random upserts, updates and deletes of its products, until the catalog is closed."""
    try:
        write_until_closed(living, writer, seed)
    except SightlineError as error:
        if error.kind is not ErrorKind.STOPPING:
            raise


def write_until_closed(living: LivingCatalog, writer: int, seed: int) -> None:
    """The writes of `write_as`."""
    choice = random.Random(seed * 1000 + writer)
    value = seed * 1_000_000 + writer * 100_000
    for turn in range(1, 100_000):
        value += 1
        slot = choice.randrange(8)
        ids = [f"w{writer}-{slot}-{number}" for number in range(GROUP)]
        kind = choice.choice(["upsert", "upsert", "update", "delete"])
        # The line of a group is one write, so that lines of two threads do not mix.
        sys.stdout.write(f"sent {kind} {writer} {slot} {value}\n")
        sys.stdout.flush()
        if kind == "upsert":
            living.upsert([product_row(each, value) for each in ids])
        elif kind == "update":
            living.update([ProductUpdate(each, {"brand": str(value)}) for each in ids])
        else:
            living.delete(ids)
        sys.stdout.write(f"done {kind} {writer} {slot} {value}\n")
        sys.stdout.flush()
        if turn % CHECKPOINT_EVERY == 0:
            living.checkpoint()
            if turn % (CHECKPOINT_EVERY * COMPACT_EVERY) == 0 and writer == 0:
                living.store.compact(keep=3)


@dataclass
class Expected:
    """The states that each slot, such as `w1-3`, may have: one that was acknowledged, or also one that was sent.

    A state is `title/brand`, or nothing when the group is deleted.
    """

    known: dict[str, str] = field(default_factory=dict)
    open: dict[str, list[str]] = field(default_factory=dict)

    def read(self, line: str) -> None:
        """Takes one line of the writing process."""
        word, *rest = line.split()
        if word not in ("sent", "done") or len(rest) != 4:
            return
        kind, writer, slot, value = rest
        name = f"w{writer}-{slot}"
        state = after(self.known.get(name, ""), kind, value)
        if word == "sent":
            self.open.setdefault(name, []).append(state)
        else:
            self.known[name] = state
            self.open.pop(name, None)

    def allowed(self, name: str) -> list[str]:
        """The states that slot `name` may have."""
        return [self.known.get(name, ""), *self.open.get(name, [])]


def after(state: str, kind: str, value: str) -> str:
    """The state of a group after a write."""
    if kind == "upsert":
        return f"{value}/"
    if kind == "delete" or not state:
        return ""
    return f"{state.partition('/')[0]}/{value}"


def found_states(catalog: Path) -> dict[str, set[str]]:
    """The states of the products of each slot; a slot that is whole has one state."""
    opened = open_catalog(catalog, SPEC)
    require_found(opened)
    states: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for place, row in enumerate(opened.display.to_pylist()):
        if not row["id"].startswith("w"):
            continue
        name = row["id"].rpartition("-")[0]
        vector = opened.vectors[opened.owners == place]
        same = np.array_equal(vector, product_row("x", int(row["title"])).embeddings.astype(np.float16))
        states.setdefault(name, set()).add(f"{row['title']}/{row['brand']}" if same else "torn")
        counts[name] = counts.get(name, 0) + 1
    return {name: found if counts[name] == GROUP else found | {"half"} for name, found in states.items()}


def require_found(catalog: Catalog) -> None:
    """Searches each vector. Raises `AssertionError` when one does not find its product first."""
    vectors = catalog.vectors.astype(np.float32)
    index = FaissIndex(catalog.vectors, use_gpu=False)
    similarities, rows = index.search(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), 1)
    index.close()
    assert bool(np.all(similarities[:, 0] > FOUND)), "a vector does not find itself"
    assert bool(np.all(np.abs(vectors[rows[:, 0]] - vectors) < SAME)), "a vector finds another one"


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
    command = [sys.executable, "-m", "load_tests.catalog_crash", "--write", str(catalog)]
    command += ["--writers", str(writers), "--seed", str(seed)]
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays and prints."""
    parser = argparse.ArgumentParser(prog="python -m load_tests.catalog_crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--signal", choices=SIGNALS, default="mixed", help="how the writing process is ended")
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--products", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder for the catalog (default: a temporary one)")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.write:
        write_groups(options.write, options.writers, options.seed)
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sightline-crash-", dir=options.work) as work:
        result = crash(Path(work), options.rounds, options.writers, options.products, options.seed, options.signal)
    print(json.dumps(asdict(result) | {"seconds": round(time.monotonic() - began, 1)}))
    return int(bool(result.lost or result.damaged or result.not_stopped))


if __name__ == "__main__":
    sys.exit(main())
